# All that a database host needs to restore the whole cluster, before Patroni may start there.
include:
  - common.hosts
  - pgbackrest
  - pgbackrest.scratch
  - patroni.configuration
