# PostgreSQL under Patroni: this host's member of the cluster.
include:
  - patroni.program
  - patroni.configuration
  - patroni.service
