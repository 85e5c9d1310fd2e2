# The way of the mails: a service that tries again and again.
include:
  - monitoring.mail
  - monitoring.program

mail-service:
  daemon.running:
    - name: nullmailer
    - require:
        - sls: monitoring.mail
        - module: monitoring-unit-loaded

mail-upgraded:
  daemon.upgraded:
    - name: nullmailer
    - require:
        - daemon: mail-service

mail-current:
  daemon.current:
    - name: nullmailer
    - restart: True
    - files: [/etc/systemd/system/nullmailer.service]
    - require:
        - daemon: mail-upgraded
