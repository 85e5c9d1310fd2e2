# An application host: the application, the volume, the way to the database, and nginx in front of it.
# The application is first, because its code and environment depend on no other host.
include:
  - application
  - gluster.mount
  - database_route
  - nginx
  - nginx.commit
  - health
