# This project's addon that gives scheduled jobs a time limit of their own, for every version of Odoo.
# odoo.conf names it, so it is there before Odoo takes its settings.
include:
  - odoo.configuration

odoo-cron:
  file.managed:
    - names:
{%- for file in ['__manifest__.py', '__init__.py', 'limit.py'] %}
        - /opt/odoo/addons/salina_cron/{{ file }}:
            - source: salt://odoo/files/addons/salina_cron/{{ file }}
{%- endfor %}
    - makedirs: True
    - mode: '0644'
    - require_in:
        - odoo: odoo-configuration
        - application: odoo-reconfigured
