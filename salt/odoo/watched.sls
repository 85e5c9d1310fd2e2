# The user with whom monitoring logs in; only in a fleet with a monitoring host.
{%- set app = pillar.app %}
{%- from "odoo/shell.jinja" import env, shell with context %}
{%- import_text "odoo/files/watched.py" as watched %}
include:
  - odoo.once
{%- if app.secrets.monitoring_password is defined %}

# Nothing waits for this user, so an addon that refuses it stops no release.
odoo-watched:
  once.done:
    - name: make the user of monitoring
    - command: {{ shell | json }}
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
