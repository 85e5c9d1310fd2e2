# Removed files are held as long as a restore of the database may need them. Then a timer deletes
# them.
{%- set app = pillar.app %}
include:
  - application.directories

# Tries again, because all hosts create this directory at the same moment.
held-directory:
  file.directory:
    - name: {{ app.held.directory | json }}
    - user: {{ app.kind | json }}
    - group: {{ app.kind | json }}
    - mode: '0750'
    - retry: {attempts: 3, interval: 2}
    - require:
        - file: application-data

held-program:
  file.managed:
    - name: /usr/local/sbin/salina-held-sweep
    - source: salt://application/files/salina-held-sweep
    - mode: '0755'

held-units:
  file.managed:
    - names:
{%- for unit in ['salina-held.service', 'salina-held.timer'] %}
        - /etc/systemd/system/{{ unit }}:
            - source: salt://application/files/{{ unit }}
{%- endfor %}
    - template: jinja
    - mode: '0644'
    - require:
        - file: held-program

held-units-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: held-units

held-timer:
  daemon.running:
    - name: salina-held.timer
    - require:
        - module: held-units-loaded
