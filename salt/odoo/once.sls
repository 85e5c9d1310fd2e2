# Steps that run once for the service, on the host that comes first. The other hosts wait until they are
# done.
{%- set app = pillar.app %}
{%- set odoo = app.definition.odoo %}
{%- set python = '/opt/odoo/' ~ app.name ~ '/bin/python' %}
{%- set program = '/opt/odoo/production/odoo-bin' %}
{%- import_text "odoo/files/login.py" as login %}
{%- import_text "odoo/files/url.py" as url %}
include:
  - application.database
  - odoo.python
  - odoo.configuration

odoo-initialised:
  once.done:
    - name: initialise
    - command: {{ [python, program, '--config', odoo.configuration, '--init', odoo.modules | join(','), '--stop-after-init', '--no-http'] | json }}
    - user: odoo
    - cwd: /opt/odoo/production
    - env_file: /etc/odoo/environment
    - patience: {{ app.settings.wait }}
    - require:
        - application: application-database
        - odoo: odoo-configuration
        - python_environment: odoo-environment
        - file: application-data
        - file: odoo-addons
        - file: odoo-environment-file
{% for step, script, variables in [
    ('set the login', login, {'secrets': {'LOGIN_PASSWORD': 'login_password'}}),
    ('set the URL ' ~ app.url, url, {'env': {'URL': app.url}}),
] %}
odoo-once-{{ loop.index }}:
  once.done:
    - name: {{ step }}
    - command: {{ [python, program, 'shell', '--config', odoo.configuration, '--no-http'] | json }}
    - stdin: {{ script | json }}
    - user: odoo
    - cwd: /opt/odoo/production
    - env_file: /etc/odoo/environment
{%- for variable, value in variables.items() %}
    - {{ variable }}: {{ value | json }}
{%- endfor %}
    - patience: {{ app.settings.wait }}
    - require:
        - once: odoo-initialised
    - require_in:
        - service: odoo-service
{% endfor %}
# New entries of odoo.modules have no effect after the first installation. The apply says so.
odoo-modules:
  odoo.modules:
    - require:
        - once: odoo-initialised
