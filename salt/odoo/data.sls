# Odoo's data directory. Odoo imports modules from `addons` in it, before those of production. So the
# directory is on the host itself, and Odoo cannot write there. Only the users' files are on the volume.
{%- set app = pillar.app %}
include:
  - application.directories
  - application.user

# With `order: 3` it is there before a running Odoo takes its new settings (odoo.configuration).
odoo-data:
  file.directory:
    - name: /var/lib/odoo
    - user: root
    - group: odoo
    - mode: '0750'
    - order: 3
    - require:
        - user: application-user

odoo-filestore:
  file.symlink:
    - name: /var/lib/odoo/filestore
    - target: {{ (app.data ~ '/filestore') | json }}
    - order: 3
    - require:
        - file: odoo-data

odoo-files:
  file.directory:
    - name: {{ (app.data ~ '/filestore') | json }}
    - user: odoo
    - group: odoo
    - mode: '0750'
    - retry: {attempts: 3, interval: 2}
    - require:
        - file: application-data
