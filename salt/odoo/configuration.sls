{%- set odoo = pillar.app.definition.odoo %}
include:
  - application.directories
  - application.source

# Addons of this project: they come after those of the checkout.
odoo-addons:
  file.recurse:
    - name: /opt/odoo/addons
    - source: salt://odoo/files/addons
    - clean: True
    - file_mode: '0644'
    - dir_mode: '0755'
    - exclude_pat: E@__pycache__
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
