# The repository of the backups, and the timers that make them; the copies of users' files; their mirror.
include:
  - pgbackrest
  - backup
  - files_repository
  - second_repository{{ '' if pillar.second_repository else '.absent' }}
