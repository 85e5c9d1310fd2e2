# Nagios, and the way of its mails.
include:
  - monitoring.mail
  - monitoring.configuration
  - monitoring.service
