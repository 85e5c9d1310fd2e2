{%- set odoo = pillar.app.definition.odoo %}
include:
  - application.directories
  - application.source

# An addon of this project, for the versions that list it among their server_wide_modules.
odoo-addons:
  file.managed:
    - names:
{%- for file in ['__manifest__.py', '__init__.py', 'health.py', 'signaling.py'] %}
        - /opt/odoo/addons/salina_odoo14/{{ file }}:
            - source: salt://odoo/files/addons/salina_odoo14/{{ file }}
{%- endfor %}
    - makedirs: True
    - mode: '0644'
    - require:
        - application: application-production

odoo-configuration:
  application.odoo_configured:
    - name: {{ odoo.configuration }}
    - user: odoo
    - require:
        - file: application-settings

# Read by systemd before it becomes the user odoo.
odoo-environment-file:
  file.managed:
    - name: /etc/odoo/environment
    - source: salt://odoo/files/environment
    - template: jinja
    - mode: '0600'
    - show_changes: False
    - require:
        - file: application-settings
