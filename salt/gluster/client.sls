# The client of the volume, in a fleet with storage.
{%- from "packages.jinja" import packages with context %}
{%- if pillar.files.servers %}
files-packages:
  pkg.installed:
    - pkgs: {{ packages.files | json }}
    - aggregate: True
{%- endif %}
