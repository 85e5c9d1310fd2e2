# The uid is the same on every host, because it owns the files on the shared volume.
{%- set app = pillar.app %}

application-user:
  group.present:
    - name: {{ app.kind | json }}
    - gid: {{ app.definition.uid | json }}
  user.present:
    - name: {{ app.kind | json }}
    - uid: {{ app.definition.uid | json }}
    - gid: {{ app.definition.uid | json }}
    - home: /opt/{{ app.kind }}
    - createhome: False
    - shell: /usr/sbin/nologin
    - order: 3 # see application.settings
    - require:
        - group: application-user
