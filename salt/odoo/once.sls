# Steps that run once for the service, on the host that comes first. The other hosts wait until they are
# done. They connect to the local HAProxy and not to pgbouncer, whose pool the application can fill.
{%- set app = pillar.app %}
{%- set odoo = app.definition.odoo %}
{%- set python = '/opt/odoo/production/.venv/bin/python' %}
{%- set program = '/opt/odoo/production/odoo-bin' %}
{%- set route = pillar.database_route %}
{%- set options = ['--config', odoo.configuration, '--no-http', '--db_host', route.name,
                   '--db_port', route.listen | string, '--db_sslmode', 'verify-full'] %}
{%- set local = 'http://127.0.0.1:%d' | format(app.definition.port) %}
{#- libpq looks for a certificate in HOME, which Salt leaves at root's, where odoo may not look. -#}
{%- set env = {'HOME': '/opt/odoo', 'PGSSLROOTCERT': route.ca} %}
{%- import_text "odoo/files/login.py" as login %}
{%- import_text "odoo/files/url.py" as url %}
{%- import_text "odoo/files/watched.py" as watched %}
include:
  - application.database
  - application.directories
  - odoo.configuration
  - application.stored
  - odoo.addons

odoo-initialised:
  once.done:
    - name: initialise
    - command: {{ ([python, program] + options + ['--init', odoo.modules | join(','), '--stop-after-init']) | json }}
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
    - command: {{ ([python, program, 'shell'] + options) | json }}
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
{%- if app.secrets.monitoring_password is defined %}

# Nothing waits for this user, so an addon that refuses it stops no release.
odoo-watched:
  once.done:
    - name: make the user of monitoring
    - command: {{ ([python, program, 'shell'] + options) | json }}
    - stdin: {{ watched | json }}
    - user: odoo
    - cwd: /opt/odoo/production
    - env_file: /etc/odoo/environment
    - env: {{ dict(env, WATCHED_AS=app.watched_as) | json }}
    - secrets: {WATCHED_PASSWORD: monitoring_password}
    - leaves: {{ {'table': 'res_users', 'rows': [{'login': app.watched_as, 'active': 'true'}]} | json }}
    - patience: {{ app.settings.wait | json }}
    - require:
        - once: odoo-initialised
{%- endif %}

# New entries of odoo.modules have no effect after the first installation. The apply says so.
odoo-modules:
  odoo.modules:
    - require:
        - once: odoo-initialised
