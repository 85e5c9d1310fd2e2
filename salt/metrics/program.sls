# Debian's exporter of the host's own numbers, and the units.
{%- from "packages.jinja" import packages with context %}
include:
  - common.packages

# Before the package, because its own unit listens at every address.
metrics-units:
  file.managed:
    - names:
{%- for unit in ['prometheus-node-exporter.socket', 'prometheus-node-exporter.service', 'salina-metrics.service'] %}
        - /etc/systemd/system/{{ unit }}:
            - source: salt://metrics/files/{{ unit }}
{%- endfor %}
    - mode: '0644'
    - require:
        - sls: common.packages

metrics-packages:
  pkg.installed:
    - pkgs: {{ packages.metrics | json }}
    - require:
        - file: metrics-units
