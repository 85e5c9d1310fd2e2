# The module that lets old drivers of PostgreSQL tell the end of a connection. NODE_OPTIONS names it,
# and Node does not start without it. So it is there before the environment, and before the service
# takes its settings.
include:
  - node.configuration

node-pg:
  file.managed:
    - name: /opt/node/pg.js
    - source: salt://node/files/pg.js
    - makedirs: True
    - mode: '0644'
    - require_in:
        - file: node-environment-file
        - file: node-steps-file
        - application: node-reconfigured
