# keepalived restarts in the turn of its host, so not on both hosts of a pair at once.
include:
  - common.turn
  - pair.configuration

pair-unit-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: pair-unit

pair-service:
  daemon.running:
    - name: keepalived
    - require:
        - module: pair-unit-loaded

pair-restarted:
  daemon.current:
    - name: keepalived
    - files: [/etc/systemd/system/keepalived.service.d/salina.conf, /etc/keepalived/salina-lease]
    - restart: True
    - turn: {{ pillar.pair.role | json }}
    - require:
        - daemon: pair-service

pair-upgraded:
  daemon.upgraded:
    - name: keepalived
    - turn: {{ pillar.pair.role | json }}
    - require:
        - daemon: pair-restarted

# A reload leaves the addresses where they are.
pair-reloaded:
  daemon.current:
    - name: keepalived
    - files: [/etc/keepalived/keepalived.conf]
    - require:
        - daemon: pair-upgraded
