# An application host: the application, the volume, the way to the database, and nginx in front of it.
# The application is first, because its code and environment depend on no other host. In a fleet without
# storage hosts this host has the files, and copies them to the backup host if there is one.
include:
  - application
  - gluster.mount
  - database_route
  - nginx
  - nginx.release
  - health
{%- if pillar.logs is defined %}
  - logs.files
{%- endif %}
{%- if pillar.files_backup is defined %}
  - files_backup
{%- endif %}
