# Has GlusterFS read a renewed certificate, in the turn of the host, and changes nothing else. The timer of the
# certificates applies it (`takeover` of a certificate). The same states are in gluster.server and gluster.mount.
include:
  - common.turn
{%- if pillar.storage is defined %}

gluster-renewed:
  gluster.current:
    - name: glusterd
    - volumes: {{ pillar.storage.volumes | map(attribute='name') | list | json }}
    - hosts: {{ pillar.storage.peers | json }}
    - files: [/etc/glusterfs/glusterd.vol]
    - secrets: [/etc/salina/tls/files.crt, /etc/salina/tls/files.key]
    - wait: {{ pillar.storage.wait }}
    - turn: storage
{%- endif %}
{%- if pillar.files is defined and pillar.files.servers %}

files-renewed:
  gluster.client_current:
    - name: {{ pillar.files.mount }}
    - volume: {{ pillar.files.volume }}
    - servers: {{ pillar.files.servers | json }}
    - secrets: [/etc/salina/tls/files.crt, /etc/salina/tls/files.key]
    - wait: {{ pillar.files.wait }}
    - turn: app
{%- endif %}
