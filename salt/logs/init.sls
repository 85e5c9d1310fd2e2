# This host sends its journal to the monitoring host (salt/log_host). It needs no monitoring host to start or to serve.
include:
  - common.packages
  - tls
{%- if not pillar.logs.kept %}
  - log_host.absent
{%- endif %}

logs-unit:
  file.managed:
    - name: /etc/systemd/system/systemd-journal-upload.service.d/salina.conf
    - source: salt://logs/files/upload.conf
    - template: jinja
    - makedirs: True
    - mode: '0644'

logs-unit-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: logs-unit

logs-service:
  daemon.running:
    - name: systemd-journal-upload
    - require:
        - pkg: common-packages
        - module: logs-unit-loaded
        - sls: tls

logs-upgraded:
  daemon.upgraded:
    - name: systemd-journal-upload
    - require:
        - daemon: logs-service

logs-current:
  daemon.current:
    - name: systemd-journal-upload
    - restart: True
    - files: [/etc/systemd/system/systemd-journal-upload.service.d/salina.conf]
    - require:
        - daemon: logs-upgraded
