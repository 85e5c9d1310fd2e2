{%- set app = pillar.app %}
{%- set definition = app.definition %}
include:
  - common.turn
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
        - once: odoo-initialised
        - file: odoo-unit

odoo-current:
  daemon.current:
    - name: odoo
    - restart: True
    - turn: app
    - files:
        - /etc/systemd/system/odoo.service
        - {{ definition.odoo.configuration }}
        - /etc/odoo/environment
        - /opt/odoo/{{ app.name }}/salina.json
        - /opt/odoo/production/.git/salina-revision
        - /opt/odoo/addons/salina_odoo14/__init__.py
        - /opt/odoo/addons/salina_odoo14/attachment.py
        - /opt/odoo/addons/salina_odoo14/health.py
        - /opt/odoo/addons/salina_odoo14/signaling.py
    - require:
        - service: odoo-service

odoo-healthy:
  application.healthy:
    - name: http://127.0.0.1:{{ definition.port }}{{ definition.health.path }}
    - cookie: {{ definition.health.cookie | json }}
    - wait: 120
    - require:
        - daemon: odoo-current
