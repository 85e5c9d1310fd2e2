# Odoo's settings. A running Odoo takes them at once, before any state that waits for another host: the
# new settings may be what lets such a state succeed.
{%- from "odoo/code.jinja" import code with context %}
{%- set app = pillar.app %}
{%- set odoo = app.definition.odoo %}
include:
  - common.turn
  - application.settings
  - odoo.data

odoo-configuration:
  odoo.configured:
    - name: {{ odoo.configuration | json }}
    - user: odoo
    - require:
        - file: application-settings
        - file: odoo-filestore

# Only root may read this file: systemd reads it before it becomes the user odoo.
odoo-environment-file:
  file.managed:
    - name: /etc/odoo/environment
    - source: salt://odoo/files/environment
    - template: jinja
    - mode: '0600'
    - show_changes: False
    - require:
        - file: application-settings

odoo-older-environment:
  release.older_environment:
    - name: /opt/odoo/production/.venv
    - target: /opt/odoo/{{ app.name }}
    - order: 3

odoo-unit:
  file.managed:
    - name: /etc/systemd/system/odoo.service
    - source: salt://application/files/application.service
    - template: jinja
    - mode: '0644'
    - require:
        - release: odoo-older-environment
    - context:
        description: Odoo ({{ app.name }})
        directory: /opt/odoo/production
        command: /opt/odoo/production/.venv/bin/python /opt/odoo/production/odoo-bin --config {{ odoo.configuration }}

odoo-reconfigured:
  application.reconfigured:
    - name: odoo
    - order: 3
    - turn: app
    - settings:
        - /etc/systemd/system/odoo.service
        - {{ odoo.configuration | json }}
        - /etc/odoo/environment
    - code: {{ code | json }}
    - release: {{ app.release.name | json }}
    - require:
        - file: odoo-unit
        - odoo: odoo-configuration
        - file: odoo-environment-file
