# This host's vote in the quorum: an etcd member, over TLS with certificates on both sides. The members
# restart in turns.
include:
  - common.turn
  - tls
  - etcd.program

etcd-member:
  quorum.joined:
    - name: etcd
    - wait: {{ pillar.quorum.wait | json }}
    - files: [/etc/default/etcd, /etc/systemd/system/etcd.service.d/salina.conf]
    - turn: quorum
    - require:
        - sls: tls
        - user: etcd-user
        - file: etcd-settings

etcd-users:
  quorum_users.present:
    - require:
        - quorum: etcd-member
