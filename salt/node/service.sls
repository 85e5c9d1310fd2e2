# The service, and its new code.
{%- from "node/code.jinja" import code with context %}
{%- set app = pillar.app %}
{%- set definition = app.definition %}
include:
  - common.turn
  - node.configuration
  - node.directories
  - application.directories
  - application.production

# The shell keeps the log file open, so logrotate must copy the file and then empty it.
extend:
  application-logrotate:
    file:
      - context: {rotation: copytruncate}

{%- set first = 'exec >>/var/log/node/node.log 2>&1; [ ! -e .start ] || exec /bin/sh .start' %}

# A release from before it had the file .start is started as the definition says.
node-unit:
  file.managed:
    - name: /etc/systemd/system/node.service
    - source: salt://application/files/application.service
    - template: jinja
    - mode: '0644'
    - context:
        description: Node.js ({{ app.name }})
        directory: /opt/node/production
        command: {{ ("/bin/sh -c '%s; exec %s'" | format(first, definition.node.start | join(' '))) | json }}
    - require_in:
        - release: application-production

node-service:
  daemon.running:
    - name: node
    - require:
        - release: application-production
        - file: node-environment-file
        - file: application-log

# An update may replace a library.
node-upgraded:
  daemon.upgraded:
    - name: node
    - turn: app
    - require:
        - daemon: node-service
        - application: node-reconfigured

node-current:
  daemon.current:
    - name: node
    - restart: True
    - turn: app
    - files:
        - /etc/systemd/system/node.service
        - /etc/node/environment
{%- for file in code %}
        - {{ file | json }}
{%- endfor %}
    - require:
        - daemon: node-upgraded

node-healthy:
  application.healthy:
    - name: http://127.0.0.1:{{ definition.port }}{{ definition.health.path }}
    - log: /var/log/node/node.log
    - cookie: {{ definition.health.cookie | json }}
    - wait: 120
    - require:
        - daemon: node-current
