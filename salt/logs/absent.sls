# Without a monitoring host nothing is sent, and nothing of it is left. The package stays: it starts nothing by itself.
include:
  - log_host.absent
{%- set units = ['systemd-journal-upload', 'salina-log-nginx', 'salina-log-odoo', 'salina-log-node'] %}
{%- for unit in units %}

logs-{{ unit }}-stopped:
  service.dead:
    - name: {{ unit | json }}
    - enable: False
    - onlyif: # otherwise a prediction names a unit that there never was
        - fun: file.file_exists
          path: /etc/systemd/system/{{ unit }}.service{{ '.d/salina.conf' if unit == units[0] }}
    - require_in:
        - file: logs-absent
{%- endfor %}

logs-absent:
  file.absent:
    - names:
        - /etc/systemd/system/{{ units[0] }}.service.d/salina.conf
{%- for unit in units[1:] %}
        - /etc/systemd/system/{{ unit }}.service
{%- endfor %}

logs-unloaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: logs-absent
