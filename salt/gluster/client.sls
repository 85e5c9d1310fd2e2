# The client of the volume, in a fleet with storage.
{%- import_yaml "packages.yaml" as packages %}
{%- if pillar.files.servers %}
files-packages:
  pkg.installed:
    - pkgs: {{ packages.files | json }}
    - aggregate: True
{%- endif %}
