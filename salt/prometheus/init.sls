# Prometheus: it asks every host for its numbers. Its jobs and its rules follow from topology, members and roles.
include:
  - tls
  - prometheus.program

prometheus-rules:
  file.managed:
    - name: /etc/prometheus/salina-rules.yml
    - source: salt://prometheus/files/rules.jinja
    - template: jinja
    - mode: '0644'
    - check_cmd: promtool check rules
    - require:
        - pkg: prometheus-packages

prometheus-settings:
  file.managed:
    - name: /etc/prometheus/salina.yml
    - source: salt://prometheus/files/configuration.jinja
    - template: jinja
    - mode: '0644'
    - check_cmd: promtool check config
    - require:
        - file: prometheus-rules
        - sls: tls

prometheus-unit-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: prometheus-unit

prometheus-service:
  daemon.running:
    - name: prometheus
    - require:
        - file: prometheus-settings
        - module: prometheus-unit-loaded

prometheus-upgraded:
  daemon.upgraded:
    - name: prometheus
    - require:
        - daemon: prometheus-service

prometheus-restarted:
  daemon.current:
    - name: prometheus
    - restart: True
    - files: [/etc/systemd/system/prometheus.service]
    - require:
        - daemon: prometheus-upgraded

prometheus-current:
  daemon.current:
    - name: prometheus
    - files: [/etc/prometheus/salina.yml, /etc/prometheus/salina-rules.yml]
    - require:
        - daemon: prometheus-restarted
