# The mail that says that monitoring works: nobody watches this host, but somebody notices a missing mail.
include:
  - monitoring.mail_service
{%- if pillar.monitoring.heartbeat %}

heartbeat-units:
  file.managed:
    - names:
{%- for unit in ['salina-heartbeat.service', 'salina-heartbeat.timer'] %}
        - /etc/systemd/system/{{ unit }}:
            - source: salt://monitoring/files/{{ unit }}
{%- endfor %}
    - template: jinja
    - mode: '0644'

heartbeat-units-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: heartbeat-units

heartbeat-timer:
  daemon.running:
    - name: salina-heartbeat.timer
    - require:
        - module: heartbeat-units-loaded
        - sls: monitoring.mail_service
{%- else %}

heartbeat-timer-stopped:
  service.dead:
    - name: salina-heartbeat.timer
    - enable: False
    - onlyif: # otherwise a prediction names a unit that there never was
        - fun: file.file_exists
          path: /etc/systemd/system/salina-heartbeat.timer

heartbeat-units-absent:
  file.absent:
    - names:
        - /etc/systemd/system/salina-heartbeat.timer
        - /etc/systemd/system/salina-heartbeat.service
    - require:
        - service: heartbeat-timer-stopped
{%- endif %}
