# The reverse proxy in front of the application's ports on loopback.
include:
  - nginx.configuration
  - nginx.service
