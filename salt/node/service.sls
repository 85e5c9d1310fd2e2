{%- set app = pillar.app %}
{%- set definition = app.definition %}
include:
  - common.turn
  - node.configuration
  - node.production

node-unit:
  file.managed:
    - name: /etc/systemd/system/node.service
    - source: salt://application/files/application.service
    - template: jinja
    - mode: '0644'
    - context:
        description: Node.js ({{ app.name }})
        directory: /opt/node/production
        command: /bin/sh -c 'exec {{ definition.node.start | join(' ') }} >>/var/log/node/node.log 2>&1'
    - require:
        - node_environment: node-production

node-service:
  service.running:
    - name: node
    - enable: True
    - require:
        - file: node-unit
        - file: node-environment-file
        - file: application-log

node-current:
  daemon.current:
    - name: node
    - restart: True
    - turn: app
    - files:
        - /etc/systemd/system/node.service
        - /etc/node/environment
        - /opt/node/production/.git/salina-revision
        - /opt/node/production/node_modules
    - require:
        - service: node-service

node-healthy:
  application.healthy:
    - name: http://127.0.0.1:{{ definition.port }}{{ definition.health.path }}
    - cookie: {{ definition.health.cookie | json }}
    - wait: 120
    - require:
        - daemon: node-current
