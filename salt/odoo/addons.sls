# The addons of this project that a definition lists in server_wide_modules. salina_retry repeats a
# request that lost the database; salina_odoo14, which loads it, has the rest that Odoo 14 needs.
# odoo.conf names them, so they are there before Odoo takes its settings, and salina_retry comes first.
include:
  - odoo.configuration

odoo-addons:
  file.managed:
    - names:
{%- for file in [
    'salina_retry/__manifest__.py', 'salina_retry/__init__.py', 'salina_retry/retry.py',
    'salina_retry/server.py',
    'salina_odoo14/__manifest__.py', 'salina_odoo14/__init__.py', 'salina_odoo14/health.py',
    'salina_odoo14/signaling.py',
] %}
        - /opt/odoo/addons/{{ file }}:
            - source: salt://odoo/files/addons/{{ file }}
{%- endfor %}
    - makedirs: True
    - mode: '0644'
    - require_in:
        - odoo: odoo-configuration
        - application: odoo-reconfigured
