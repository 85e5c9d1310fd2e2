# The module that holds removed files. NODE_OPTIONS names it, and Node does not start without it. So
# it is there before the environment, and before the service takes its settings.
include:
  - node.configuration

node-held:
  file.managed:
    - name: /opt/node/held.js
    - source: salt://node/files/held.js
    - makedirs: True
    - mode: '0644'
    - require_in:
        - file: node-environment-file
        - file: node-steps-file
        - application: node-reconfigured
