# The application's settings. A running service takes them at once, before any state that waits for
# another host: the new settings may be what lets such a state succeed.
{%- from "node/code.jinja" import code with context %}
{%- set app = pillar.app %}
include:
  - common.turn
  - application.settings

# Only root may read this file: systemd reads it before it becomes the user node.
node-environment-file:
  file.managed:
    - name: /etc/node/environment
    - source: salt://node/files/environment
    - template: jinja
    - context: {database: {{ app.database.name | json }}}
    - mode: '0600'
    - show_changes: False
    - require:
        - file: application-settings

# The unit may name the command that starts the code, so it comes with the code (node.service).
node-reconfigured:
  application.reconfigured:
    - name: node
    - order: 3
    - turn: app
    - settings: [/etc/systemd/system/node.service, /etc/node/environment]
    - code: {{ code | json }}
    - release: {{ app.release.name | json }}
    - require:
        - file: node-environment-file

# The same environment with another name of the database: one-time steps have a pool of their own.
node-steps-file:
  file.managed:
    - name: /etc/node/steps
    - source: salt://node/files/environment
    - template: jinja
    - context: {database: {{ pillar.database_route.steps.name | json }}}
    - mode: '0600'
    - show_changes: False
    - require:
        - file: application-settings

# Tells `sequelize --config` where the URL is. With `--url` every user of the host would see it.
node-sequelize:
  file.managed:
    - name: /etc/node/sequelize.json
    - contents: '{"use_env_variable": "DATABASE_URL"}'
    - mode: '0644'
    - require:
        - file: application-settings

# Some programs leave their temporary files behind, so systemd-tmpfiles removes them.
node-scratch:
  file.managed:
    - name: /etc/tmpfiles.d/node.conf
    - contents: |
        # Managed by Salt (salt/node).
{%- for directory in pillar.app.definition.node.scratch %}
        e /var/cache/node/{{ directory }} - - - 1d
{%- endfor %}
    - mode: '0644'
