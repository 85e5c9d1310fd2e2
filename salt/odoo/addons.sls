# This project's addon for Odoo 14. Only versions that list it in server_wide_modules load it.
odoo-addons:
  file.managed:
    - names:
{%- for file in ['__manifest__.py', '__init__.py', 'attachment.py', 'health.py', 'retry.py', 'signaling.py'] %}
        - /opt/odoo/addons/salina_odoo14/{{ file }}:
            - source: salt://odoo/files/addons/salina_odoo14/{{ file }}
{%- endfor %}
    - makedirs: True
    - mode: '0644'
