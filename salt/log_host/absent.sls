# This host keeps no logs. Those that it kept before stay in /var/log/journal/remote.
{%- set units = ['salina-logs.service', 'salina-logs-bounded.timer', 'salina-logs.target', 'salina-logs-bounded.service',
    'salina-log@.service', 'salina-log@.socket'] %}
{%- for unit in units[:3] %}

log-host-{{ unit }}-stopped:
  service.dead:
    - name: {{ unit | json }}
    - enable: False
    - onlyif: # otherwise a prediction names a unit that there never was
        - fun: file.file_exists
          path: /etc/systemd/system/{{ unit }}
    - require_in:
        - file: log-host-absent
{%- endfor %}

log-host-absent:
  file.absent:
    - names:
{%- for unit in units %}
        - /etc/systemd/system/{{ unit }}
{%- endfor %}
        - /etc/salina/logs
        - /usr/local/sbin/salina-logs-bounded
        - /usr/local/sbin/salina-request

log-host-unloaded:
  cmd.run:
    - name: systemctl stop 'salina-log@*.socket' 'salina-log@*.service' && systemctl daemon-reload
    - onchanges:
        - file: log-host-absent
