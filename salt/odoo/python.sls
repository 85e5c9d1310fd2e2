# The environment has the name of the application's file in pillar/app, so a new version gets a new one.
{%- import_yaml "packages.yaml" as packages %}
{%- set python = pillar.app.definition.odoo.python %}
include:
  - application.source
  - common.builder
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

odoo-environment:
  python_environment.installed:
    - name: /opt/odoo/{{ pillar.app.name }}
    - interpreter: {{ python.interpreter }}
{%- if python.lock %}
    - requirements: salt://locks/{{ python.lock }}.txt
{%- else %}
    - requirements: /opt/odoo/production/{{ python.requirements }}
    - lock: False
    - without_dependencies: {{ python.without_dependencies | json }}
    - constraints: {{ python.constraints | json }}
{%- endif %}
    - require:
        - pkg: odoo-packages
        - user: builder
        - checkout: application-production
