# This project's addon that loses no file of a user, for every version of Odoo: one that was removed
# is held, one that is being stored is not removed, and one that cannot be stored is an error for its
# user. odoo.conf names the addon, so it is there before Odoo takes its settings.
include:
  - odoo.configuration

odoo-held:
  file.managed:
    - names:
{%- for file in ['__manifest__.py', '__init__.py', 'attachment.py', 'holding.py', 'storing.py'] %}
        - /opt/odoo/addons/salina_held/{{ file }}:
            - source: salt://odoo/files/addons/salina_held/{{ file }}
{%- endfor %}
    - makedirs: True
    - mode: '0644'
    - require_in:
        - odoo: odoo-configuration
        - application: odoo-reconfigured
