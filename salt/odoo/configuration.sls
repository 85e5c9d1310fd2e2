{%- set odoo = pillar.app.definition.odoo %}
include:
  - application.directories
  - application.source

# This project's own addon. Only versions that list it in server_wide_modules load it.
odoo-addons:
  file.managed:
    - names:
{%- for file in ['__manifest__.py', '__init__.py', 'attachment.py', 'health.py', 'signaling.py'] %}
        - /opt/odoo/addons/salina_odoo14/{{ file }}:
            - source: salt://odoo/files/addons/salina_odoo14/{{ file }}
{%- endfor %}
    - makedirs: True
    - mode: '0644'
    - require:
        - checkout: application-production

odoo-configuration:
  odoo.configured:
    - name: {{ odoo.configuration }}
    - user: odoo
    - require:
        - file: application-settings

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
