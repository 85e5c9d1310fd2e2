# A copy of the shared files, which also goes to the backup host if there is one.
include:
  - gluster.server
{%- if pillar.files_backup is defined %}
  - files_backup
{%- endif %}
