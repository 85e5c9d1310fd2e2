# The repository of the backups, and the timers that make them; the copies of users' files.
include:
  - pgbackrest
  - backup
  - files_repository
