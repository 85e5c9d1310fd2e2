# The addresses that this host shares with another one (decision 67): keepalived gives them to the one that serves.
{%- import_yaml "packages.yaml" as packages %}
include:
  - common.turn

pair-packages:
  pkg.installed:
    - pkgs: {{ packages.pair | json }}
    - aggregate: True

# keepalived runs only a program that nobody but root can replace, and none from /usr/local.
pair-program:
  file.managed:
    - name: /etc/keepalived/salina-serves
    - source: salt://pair/files/serves
    - mode: '0755'
    - require:
        - pkg: pair-packages

pair-configuration:
  file.managed:
    - name: /etc/keepalived/keepalived.conf
    - source: salt://pair/files/keepalived.conf
    - template: jinja
    - mode: '0644'
    - check_cmd: /usr/sbin/keepalived --config-test --use-file
    - require:
        - file: pair-program

pair-unit:
  file.managed:
    - name: /etc/systemd/system/keepalived.service.d/salina.conf
    - source: salt://pair/files/unit.conf
    - template: jinja
    - makedirs: True
    - mode: '0644'
    - require:
        - file: pair-configuration

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
    - files: [/etc/systemd/system/keepalived.service.d/salina.conf]
    - restart: True
    - turn: {{ pillar.pair.role }}
    - require:
        - daemon: pair-service

pair-upgraded:
  daemon.upgraded:
    - name: keepalived
    - turn: {{ pillar.pair.role }}
    - require:
        - daemon: pair-restarted

# A reload leaves the addresses where they are.
pair-reloaded:
  daemon.current:
    - name: keepalived
    - files: [/etc/keepalived/keepalived.conf]
    - require:
        - daemon: pair-upgraded
