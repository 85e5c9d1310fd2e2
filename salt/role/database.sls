# PostgreSQL under Patroni, then the roles and databases of the applications.
include:
  - patroni
  - database
