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
{%- for certificate in pillar.tls.certificates if 'patroni' in certificate.readers %}
        - /etc/salina/tls/{{ certificate.name }}.crt
        - /etc/salina/tls/{{ certificate.name }}.key
{%- endfor %}
    - require:
        - file: patroni-settings
        - sls: tls

patroni-quorum:
  quorum.serves:
    - endpoints: {{ pillar.database.quorum | json }}
    - wait: {{ wait | json }}
    - require:
        - sls: tls

patroni-turn:
  patroni.its_turn:
    - first: {{ pillar.database.first | json }}
    - wait: {{ wait | json }}
    - require:
        - quorum: patroni-quorum

patroni-service:
  daemon.running:
    - name: patroni
    - require:
        - file: patroni-settings
        - patroni: patroni-turn

patroni-working:
  patroni.working:
    - name: patroni
    - wait: {{ wait | json }}
    - files: [/opt/patroni/salina.json, /etc/systemd/system/patroni.service]
    - require:
        - daemon: patroni-current
        - daemon: patroni-service

patroni-login:
  quorum_users.required:
    - wait: {{ wait | json }}
    - require:
        - patroni: patroni-working

patroni-configured:
  patroni.configured:
    - wait: {{ wait | json }}
    - require:
        - patroni: patroni-working
