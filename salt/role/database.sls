# PostgreSQL under Patroni, then the roles and databases of the applications. With a backup host, the way
# of the WAL comes first.
include:
{%- if pillar.archiving is defined %}
  - pgbackrest
  - pgbackrest.scratch
{%- endif %}
  - patroni
  - database
