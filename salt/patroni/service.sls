# The hosts take turns: the first host initialises the cluster once the quorum serves, and the others
# follow.
{%- set wait = pillar.database.settings.wait %}

include:
  - common.turn
  - tls
  - patroni.configuration

# A running Patroni reads its files before anything waits for another host: a new certificate or another
# address may be what the quorum needs.
patroni-current:
  daemon.current:
    - name: patroni
    - files:
        - /etc/patroni/patroni.yml
        - /etc/salina/tls/ca.crt
        - /etc/salina/tls/host.crt
        - /etc/salina/tls/host.key
    - require:
        - file: patroni-settings
        - certificate: tls-certificate

patroni-quorum:
  quorum.serves:
    - endpoints: {{ pillar.database.quorum | json }}
    - wait: {{ wait }}
    - require:
        - certificate: tls-certificate

patroni-turn:
  patroni.its_turn:
    - first: {{ pillar.database.first }}
    - wait: {{ wait }}
    - require:
        - quorum: patroni-quorum

patroni-service:
  service.running:
    - name: patroni
    - enable: True
    - require:
        - file: patroni-settings
        - patroni: patroni-turn

patroni-working:
  patroni.working:
    - name: patroni
    - wait: {{ wait }}
    - files: [/opt/patroni/salina.json, /etc/systemd/system/patroni.service]
    - require:
        - daemon: patroni-current
        - service: patroni-service

patroni-configured:
  patroni.configured:
    - wait: {{ wait }}
    - require:
        - patroni: patroni-working
