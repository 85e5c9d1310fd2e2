# A storage host: its bricks, its membership of the trusted pool, and the volumes over all bricks.
{%- set storage = pillar.storage %}
include:
  - common.turn
  - gluster.daemon

gluster-pool:
  gluster.peers:
    - host: {{ storage.name }}
    - hosts: {{ storage.peers | json }}
    - wait: {{ storage.wait }}
    - require:
        - daemon: gluster-daemon

gluster-volume:
  gluster.volume:
    - names:
{%- for volume in storage.volumes %}
        - {{ volume.name }}:
            - replica: {{ volume.replica }}
            - bricks: {{ volume.bricks | json }}
            - options: {{ volume.options | json }}
            - tls: {{ volume.tls | json }}
{%- endfor %}
    - host: {{ storage.name }}
    - wait: {{ storage.wait }}
    - require:
        - gluster: gluster-pool

# It does not require the volumes, whose own error already says what an operator must do.
gluster-current:
  gluster.current:
    - name: glusterd
    - volumes: {{ storage.volumes | map(attribute='name') | list | json }}
    - hosts: {{ storage.peers | json }}
    - files: [/etc/glusterfs/glusterd.vol]
    - wait: {{ storage.wait }}
    - turn: storage
    - require:
        - daemon: gluster-daemon
