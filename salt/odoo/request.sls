# This project's addon that logs the id of the request to which a line belongs, for every version of Odoo.
# odoo.conf names it, so it is there before Odoo takes its settings.
include:
  - odoo.configuration

odoo-request:
  file.managed:
    - names:
{%- for file in ['__manifest__.py', '__init__.py', 'logs.py'] %}
        - /opt/odoo/addons/salina_request/{{ file }}:
            - source: salt://odoo/files/addons/salina_request/{{ file }}
{%- endfor %}
    - makedirs: True
    - mode: '0644'
    - require_in:
        - odoo: odoo-configuration
        - application: odoo-reconfigured
