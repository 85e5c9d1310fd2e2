# The directories that the service may write: its log, its cache, and its data on the shared volume.
{%- set app = pillar.app %}
include:
  - gluster.mount
  - application.user
  - application.settings
{% for directory in ['log', 'cache'] %}
application-{{ directory }}:
  file.directory:
    - name: /var/{{ directory }}/{{ app.kind }}
    - user: {{ app.kind | json }}
    - group: {{ app.kind | json }}
    - mode: '0750'
    - require:
        - user: application-user
{% endfor %}
# Tries again, because all hosts create this directory at the same moment.
application-data:
  file.directory:
    - name: {{ app.data | json }}
    - user: {{ app.kind | json }}
    - group: {{ app.kind | json }}
    - mode: '0750'
    - retry: {attempts: 3, interval: 2}
    - require:
        - user: application-user
        - sls: gluster.mount

application-logrotate:
  file.managed:
    - name: /etc/logrotate.d/{{ app.kind }}
    - source: salt://application/files/logrotate
    - template: jinja
    - defaults: {rotation: create 0640}
    - mode: '0644'
