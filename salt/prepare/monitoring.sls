include:
  - monitoring.program
  - prometheus.program
