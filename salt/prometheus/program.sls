# The package, and Prometheus' unit.
{%- from "packages.jinja" import packages with context %}
include:
  - common.packages

# Before the package, because its own unit listens at every address.
prometheus-unit:
  file.managed:
    - name: /etc/systemd/system/prometheus.service
    - source: salt://prometheus/files/prometheus.service
    - template: jinja
    - mode: '0644'
    - require:
        - sls: common.packages

prometheus-packages:
  pkg.installed:
    - pkgs: {{ packages.prometheus | json }}
    - require:
        - file: prometheus-unit
