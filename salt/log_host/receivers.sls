# The receiver of each host, which systemd starts for its first line, and the timer that bounds what it has written.
{%- set units = ['salina-log@.socket', 'salina-log@.service', 'salina-logs.target', 'salina-logs.service',
    'salina-logs-bounded.service', 'salina-logs-bounded.timer'] %}
include:
  - common.packages

log-host-user:
  user.present:
    - name: salina-logs
    - system: True
    - usergroup: True
    - home: /nonexistent
    - createhome: False
    - shell: /usr/sbin/nologin

log-host-files:
  file.managed:
    - names:
{%- for unit in units %}
        - /etc/systemd/system/{{ unit }}:
            - source: salt://log_host/files/{{ unit }}
{%- endfor %}
{%- for program in ['salina-logs-bounded', 'salina-request'] %}
        - /usr/local/sbin/{{ program }}:
            - source: salt://log_host/files/{{ program }}
            - mode: '0755'
{%- endfor %}
    - template: jinja
    - context: {kept: {{ pillar.logs.kept | json }}}
    - mode: '0644'
    - require:
        - user: log-host-user

log-host-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: log-host-files

log-host-receivers:
  daemon.running:
    - names: [salina-logs.target, salina-logs-bounded.timer]
    - require:
        - module: log-host-loaded
        - pkg: common-packages

# A new host's receiver comes with the restart of the target, which stops none.
log-host-receivers-current:
  daemon.current:
    - name: salina-logs.target
    - restart: True
    - files: [/etc/systemd/system/salina-logs.target]
    - require:
        - daemon: log-host-receivers

log-host-receivers-upgraded:
  daemon.all_upgraded:
    - services: {{ pillar.logs.kept.receivers | json }}
    - require:
        - daemon: log-host-receivers-current
