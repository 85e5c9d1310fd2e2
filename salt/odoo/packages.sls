{%- import_yaml "packages.yaml" as packages %}
{%- set python = pillar.app.definition.odoo.python %}
include:
  - odoo.fits
{% if python.release %}
odoo-release:
  apt.release:
    - name: {{ python.release }}
    - require_in:
        - pkg: odoo-packages
{% endif %}
odoo-packages:
  pkg.installed:
    - pkgs: {{ (packages.odoo + python.packages) | json }}
    - require_in:
        - release: application-built
