include:
  - application.release
  - gluster.client
  - database_route
  - nginx
