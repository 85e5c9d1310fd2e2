# An application host: the application, the volume, the way to the database, and nginx in front of it.
# The application is first, because its code and environment depend on no other host.
include:
  - application
  - gluster.mount
  - database_route
  - nginx
  - health

# nginx caches files under the commit of production, so it must see the one of this run.
extend:
  nginx-configuration:
    file:
      - require:
          - checkout: application-production
