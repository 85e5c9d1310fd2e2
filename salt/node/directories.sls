# The directories that the application writes: its uploads on the volume, and what is temporary on the host.
{%- set app = pillar.app %}
{%- set node = app.definition.node %}
include:
  - application.stored
  - application.directories
{% for place, directories in {app.data: node.uploads, '/var/cache/node': node.scratch}.items() %}
{%- for directory in directories %}
node-directory-{{ directory }}:
  file.directory:
    - name: {{ (place ~ '/' ~ directory) | json }}
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
    - name: {{ (app.release.directory ~ '/' ~ directory) | json }}
    - target: {{ (place ~ '/' ~ directory) | json }}
    - makedirs: True
    - require:
        - release: application-release
        - file: node-directory-{{ directory }}
    - require_in:
        - release: application-production
{% endfor %}
{%- endfor %}
