# Steps that run once for the service, on the host that comes first. The other hosts wait until they are
# done. They connect to the local HAProxy and not to pgbouncer, whose pool the application can fill.
{%- set app = pillar.app %}
{%- set odoo = app.definition.odoo %}
{%- from "odoo/shell.jinja" import env, options, program, shell with context %}
{%- set local = 'http://127.0.0.1:%d' | format(app.definition.port) %}
{%- import_text "odoo/files/login.py" as login %}
{%- import_text "odoo/files/url.py" as url %}
include:
  - application.database
  - application.directories
  - odoo.configuration
  - application.stored
  - odoo.addons

odoo-initialised:
  once.done:
    - name: initialise
    - command: {{ (program + options + ['--init', odoo.modules | join(','), '--stop-after-init']) | json }}
    - user: odoo
    - cwd: /opt/odoo/production
    - env_file: /etc/odoo/environment
    - env: {{ env | json }}
    - patience: {{ app.settings.wait | json }}
    - require:
        - application: application-database
        - odoo: odoo-configuration
        - release: application-first
        - file: odoo-files
        - file: odoo-addons
        - file: odoo-environment-file
{% for step, script, variables in [
    ('set the login', login, {'secrets': {'LOGIN_PASSWORD': 'login_password'}, 'env': env}),
    ('set the URL', url, {
        'env': dict(env, URL=app.url, REPORT_URL=local),
        'leaves': {'table': 'ir_config_parameter', 'rows': [
            {'key': 'web.base.url', 'value': app.url}, {'key': 'web.base.url.freeze', 'value': 'True'},
            {'key': 'report.url', 'value': local}]},
    }),
] %}
odoo-once-{{ loop.index }}:
  once.done:
    - name: {{ step | json }}
    - command: {{ shell | json }}
    - stdin: {{ script | json }}
    - user: odoo
    - cwd: /opt/odoo/production
    - env_file: /etc/odoo/environment
{%- for variable, value in variables.items() %}
    - {{ variable | json }}: {{ value | json }}
{%- endfor %}
    - patience: {{ app.settings.wait | json }}
    - require:
        - once: odoo-initialised
    - require_in:
        - release: application-production
{% endfor %}
# New entries of odoo.modules have no effect after the first installation. The apply says so.
odoo-modules:
  odoo.modules:
    - require:
        - once: odoo-initialised
