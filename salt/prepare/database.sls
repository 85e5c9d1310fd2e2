include:
  - patroni.program
