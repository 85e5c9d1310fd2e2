# Nagios runs with its newest files.
include:
  - tls
  - monitoring.configuration
  - monitoring.mail_service

monitoring-service:
  daemon.running:
    - name: nagios4
    - require:
        - module: monitoring-unit-loaded
        - file: monitoring-objects
        - file: mail-queue
        - sls: tls

monitoring-upgraded:
  daemon.upgraded:
    - name: nagios4
    - require:
        - daemon: monitoring-service

monitoring-restarted:
  daemon.current:
    - name: nagios4
    - restart: True
    - files: [/etc/systemd/system/nagios4.service]
    - require:
        - daemon: monitoring-upgraded

monitoring-current:
  daemon.current:
    - name: nagios4
    - files: [/etc/nagios4/nagios.cfg, /etc/nagios4/salina.cfg]
    - require:
        - daemon: monitoring-restarted
