{%- from "packages.jinja" import packages with context %}
{%- set odoo = pillar.app.definition.odoo %}
{%- set python = odoo.python %}
include:
  - odoo.fits
{%- if odoo.right_to_left %}
  - node.packages
{%- endif %}
{% if python.release %}
odoo-release:
  apt.release:
    - name: {{ python.release | json }}
    - require_in:
        - pkg: odoo-packages
{% endif %}
odoo-packages:
  pkg.installed:
    - pkgs: {{ (packages.odoo + python.packages + (packages.rtlcss if odoo.right_to_left else [])) | json }}
    - require_in:
        - release: application-built
