# A storage host: its brick, its membership of the trusted pool, and the volume over all bricks.
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
        - service: gluster-daemon

gluster-volume:
  gluster.volume:
    - name: {{ storage.volume.name }}
    - host: {{ storage.name }}
    - replica: {{ storage.volume.replica }}
    - bricks: {{ storage.volume.bricks | json }}
    - options: {{ storage.volume.options | json }}
    - wait: {{ storage.wait }}
    - require:
        - gluster: gluster-pool

# It does not require the volume, whose own error already says what an operator must do.
gluster-current:
  gluster.current:
    - name: glusterd
    - volume: {{ storage.volume.name }}
    - hosts: {{ storage.peers | json }}
    - files: [/etc/glusterfs/glusterd.vol]
    - wait: {{ storage.wait }}
    - turn: storage
    - require:
        - service: gluster-daemon
