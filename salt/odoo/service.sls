{%- set app = pillar.app %}
{%- set definition = app.definition %}
include:
  - odoo.once

odoo-unit:
  file.managed:
    - name: /etc/systemd/system/odoo.service
    - source: salt://application/files/application.service
    - template: jinja
    - mode: '0644'
    - context:
        description: Odoo ({{ app.name }})
        directory: /opt/odoo/production
        command: /opt/odoo/{{ app.name }}/bin/python /opt/odoo/production/odoo-bin --config {{ definition.odoo.configuration }}

odoo-service:
  service.running:
    - name: odoo
    - enable: True
    - require:
        - application: odoo-initialised
    - watch:
        - application: application-production
        - application: odoo-configuration
        - python_environment: odoo-environment
        - file: odoo-addons
        - file: odoo-environment-file
        - file: odoo-unit

odoo-healthy:
  application.healthy:
    - name: http://127.0.0.1:{{ definition.port }}{{ definition.health.path }}
    - wait: 120
    - require:
        - service: odoo-service
