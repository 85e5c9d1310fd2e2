# The uid is the same on every host, because it owns the files on the shared volume.
{%- set app = pillar.app %}

application-user:
  group.present:
    - name: {{ app.kind }}
    - gid: {{ app.definition.uid }}
  user.present:
    - name: {{ app.kind }}
    - uid: {{ app.definition.uid }}
    - gid: {{ app.definition.uid }}
    - home: /opt/{{ app.kind }}
    - createhome: False
    - shell: /usr/sbin/nologin
    - order: 3 # see application.settings
    - require:
        - group: application-user
