# Without a monitoring host nobody asks for numbers, and nothing of them is left. The package goes as well, because its own
# unit would listen at every address. One that Salina has not installed stays.
{%- from "packages.jinja" import packages with context %}
{%- set units = ['salina-metrics.service', 'prometheus-node-exporter.socket', 'prometheus-node-exporter.service'] %}
{%- for unit in units %}

metrics-{{ unit }}-stopped:
  service.dead:
    - name: {{ unit | json }}
    - enable: False
    - onlyif: # otherwise a prediction names a unit that there never was
        - fun: file.file_exists
          path: /etc/systemd/system/{{ unit }}
    - require_in:
        - pkg: metrics-purged
{%- endfor %}

metrics-purged:
  pkg.purged:
    - pkgs: {{ packages.metrics | json }}
    - onlyif:
        - fun: file.file_exists
          path: /etc/systemd/system/{{ units[0] }}

metrics-absent:
  file.absent:
    - names:
{%- for unit in units %}
        - /etc/systemd/system/{{ unit }}
{%- endfor %}
        - /etc/salina/metrics
    - require:
        - pkg: metrics-purged

metrics-unloaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: metrics-absent
