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

# A new host's receiver comes with the restart of the target, which stops none.
log-host-receivers:
  service.running:
    - names: [salina-logs.target, salina-logs-bounded.timer]
    - enable: True
    - watch:
        - file: log-host-files
    - require:
        - module: log-host-loaded
        - pkg: common-packages

log-host-receivers-upgraded:
  daemon.all_upgraded:
    - services: {{ pillar.logs.kept.receivers | json }}
    - require:
        - service: log-host-receivers
