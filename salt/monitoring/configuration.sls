# Nagios' configuration follows from the topology and the members (pillar `monitoring`).
include:
  - monitoring.program

monitoring-settings:
  file.managed:
    - names:
{%- for file in ['nagios.cfg', 'salina.json'] %}
        - /etc/nagios4/{{ file }}:
            - source: salt://monitoring/files/{{ file }}
{%- endfor %}
    - template: jinja
    - group: nagios
    - mode: '0640'
    - require:
        - sls: monitoring.program

# Only Nagios' own user reads the passwords, and not the programs of the web page, which are in its group.
monitoring-users:
  file.managed:
    - name: /etc/nagios4/users.json
    - source: salt://monitoring/files/users.json
    - template: jinja
    - user: nagios
    - mode: '0400'
    - show_changes: False
    - require:
        - sls: monitoring.program

monitoring-objects:
  file.managed:
    - name: /etc/nagios4/salina.cfg
    - source: salt://monitoring/files/salina.cfg
    - template: jinja
    - group: nagios
    - mode: '0640'
    - check_cmd: /usr/local/sbin/salina-nagios-check
    - require:
        - file: monitoring-settings
