# The repository of the backups, and the timers that make them.
include:
  - pgbackrest
  - backup
