{%- set app = pillar.app %}
{%- set node = app.definition.node %}
include:
  - application.source
  - application.directories
  - node.dependencies

node-production:
  node_environment.linked:
    - name: /opt/node/production
    - other: /opt/node/staging
    - store: /opt/node/modules
    - require:
        - checkout: application-production
        - node_environment: node-dependencies
{% for place, directories in {app.data: node.uploads, '/var/cache/node': node.scratch}.items() %}
{%- for directory in directories %}
node-directory-{{ directory }}:
  file.directory:
    - name: {{ place }}/{{ directory }}
    - user: node
    - group: node
    - mode: '0750'
    - makedirs: True
    - retry: {attempts: 3, interval: 2}
    - require:
        - file: application-data
        - file: application-cache

# A link, because a mount could vanish: see ReadWritePaths in salt/application/files/application.service.
node-link-{{ directory }}:
  file.symlink:
    - name: /opt/node/production/{{ directory }}
    - target: {{ place }}/{{ directory }}
    - makedirs: True
    - require:
        - checkout: application-production
        - file: node-directory-{{ directory }}
    - require_in:
        - daemon: node-service
{% endfor %}
{%- endfor %}
