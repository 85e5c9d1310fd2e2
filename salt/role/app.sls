# An application host: the volume, the way to the database, the application, nginx before it.
include:
  - gluster.mount
  - database_route
  - application
  - nginx
