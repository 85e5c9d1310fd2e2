# An application host: the volume, the way to the database, the application, and nginx in front of it.
include:
  - gluster.mount
  - database_route
  - application
  - nginx
