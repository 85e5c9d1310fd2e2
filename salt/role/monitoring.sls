# Nagios, which asks every host for its report, and Prometheus, which asks for its numbers; their web page; the logs of
# every host.
include:
  - monitoring
  - monitoring.page
  - monitoring.heartbeat
  - prometheus
  - prometheus.page
  - log_host
