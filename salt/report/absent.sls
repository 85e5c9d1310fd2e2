# Without a monitoring host nobody asks for the report, and nothing of it is left.
{%- set sockets = ['salina-report.socket', 'salina-report-tls.socket'] %}
{%- for unit in sockets %}

report-{{ unit }}-stopped:
  service.dead:
    - name: {{ unit | json }}
    - enable: False
    - onlyif: # otherwise a prediction names a unit that there never was
        - fun: file.file_exists
          path: /etc/systemd/system/{{ unit }}
    - require_in:
        - file: report-absent
{%- endfor %}

report-absent:
  file.absent:
    - names:
{%- for unit in sockets + ['salina-report@.service', 'salina-report-tls@.service'] %}
        - /etc/systemd/system/{{ unit }}
{%- endfor %}
        - /etc/salina/report
        - /usr/local/lib/salina-report

report-unloaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: report-absent
