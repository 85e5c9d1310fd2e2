include:
  - pgbackrest.program
