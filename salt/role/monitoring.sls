# Nagios, which asks every host for its report, and its web page.
include:
  - monitoring
  - monitoring.page
  - monitoring.heartbeat
