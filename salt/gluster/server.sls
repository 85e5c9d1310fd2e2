# A storage host: its bricks, its membership of the trusted pool, and the volumes over all bricks. A spare has
# empty directories for bricks and is in no pool, so its loss costs no vote.
{%- set storage = pillar.storage %}
include:
  - common.turn
  - gluster.daemon
{%- if not storage.spare %}

gluster-pool:
  gluster.peers:
    - host: {{ storage.name | json }}
    - hosts: {{ storage.peers | json }}
    - wait: {{ storage.wait | json }}
    - require:
        - daemon: gluster-daemon

gluster-volume:
  gluster.volume:
    - names:
{%- for volume in storage.volumes %}
        - {{ volume.name | json }}:
            - replica: {{ volume.replica | json }}
            - bricks: {{ volume.bricks | json }}
            - options: {{ volume.options | json }}
            - tls: {{ volume.tls | json }}
{%- endfor %}
    - host: {{ storage.name | json }}
    - wait: {{ storage.wait | json }}
    - require:
        - gluster: gluster-pool
{%- endif %}

# It does not require the volumes, whose own error already says what an operator must do.
gluster-current:
  gluster.current:
    - name: glusterd
    - volumes: {{ ([] if storage.spare else storage.volumes) | map(attribute='name') | list | json }}
    - hosts: {{ ([storage.name] if storage.spare else storage.peers) | json }}
    - files: [/etc/glusterfs/glusterd.vol]
    - wait: {{ storage.wait | json }}
    - turn: storage
    - require:
        - daemon: gluster-daemon
