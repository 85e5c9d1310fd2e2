# The service, and its new code.
{%- from "odoo/code.jinja" import code with context %}
{%- set definition = pillar.app.definition %}
include:
  - common.turn
  - application.production
  - odoo.configuration
  - odoo.once

odoo-service:
  daemon.running:
    - name: odoo
    - require:
        - release: application-production
        - file: odoo-unit

# An update may replace Python, or a library.
odoo-upgraded:
  daemon.upgraded:
    - name: odoo
    - turn: app
    - require:
        - daemon: odoo-service
        - application: odoo-reconfigured

odoo-current:
  daemon.current:
    - name: odoo
    - restart: True
    - turn: app
    - files:
        - /etc/systemd/system/odoo.service
        - {{ definition.odoo.configuration | json }}
        - /etc/odoo/environment
{%- for file in code %}
        - {{ file | json }}
{%- endfor %}
    - require:
        - daemon: odoo-upgraded

odoo-healthy:
  application.healthy:
    - name: http://127.0.0.1:{{ definition.port }}{{ definition.health.path }}
    - log: /var/log/odoo/odoo.log
    - cookie: {{ definition.health.cookie | json }}
    - wait: 120
    - require:
        - daemon: odoo-current
