# Nagios, and the way of its mails.
include:
  - monitoring.mail_service
  - monitoring.configuration
  - monitoring.service
