include:
  - monitoring.program
