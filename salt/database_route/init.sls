# The way from the application to the primary: pgbouncer keeps the sessions, HAProxy finds the host.
include:
  - database_route.configuration
  - database_route.service
