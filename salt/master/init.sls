# The master's own minion: it signs the fleet's certificates (salt/tls), with the CA that
# `salt-run secrets.create` made. The policies come with its pillar, which a running minion keeps
# in memory: it is told when they change, before its own and the others' certificates need them.
{%- set policies = pillar.x509_signing_policies | json(sort_keys=True) | sha256 %}

state-directory:
  file.directory:
    - name: /var/lib/salina
    - mode: '0700'

policies-changed:
  file.managed:
    - name: {{ opts.cachedir }}/salina-policies
    - contents: {{ policies }}
    - mode: '0600'
    - order: 3

policies-known:
  module.run:
    - saltutil.refresh_pillar:
        - wait: True
    - order: 4
    - onchanges:
        - file: policies-changed
