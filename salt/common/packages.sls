{%- from "packages.jinja" import packages with context %}
{%- set wanted = packages.common + (packages.updates if pillar.updates.enabled else [])
    + (packages.time if pillar.time.managed else []) + (packages.report if pillar.report is defined else [])
    + (packages.logs if pillar.logs is defined else [])
    + (packages.operators if pillar.operators is defined else []) %}

# Before any package is installed: repair what a killed apply or a power cut left half done.
packages-whole:
  apt.whole:
    - wait: 300

packages-restart-nothing:
  file.managed:
    - name: /usr/sbin/policy-rc.d
    - source: salt://common/files/policy-rc.d
    - mode: '0755'

common-packages:
  pkg.installed:
    - pkgs: {{ wanted | json }}
    - require:
        - apt: packages-whole
        - file: packages-restart-nothing
