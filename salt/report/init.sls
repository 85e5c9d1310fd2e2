# The report of this host for monitoring. stunnel answers at the host's address, as a user of its own, and takes
# the certificates of monitoring hosts only. Behind it systemd starts the checks as root, which read nothing that
# comes from the network. Neither runs while nobody asks.
include:
  - common.packages
  - tls
{%- set sockets = ['salina-report.socket', 'salina-report-tls.socket'] %}

report-program:
  file.managed:
    - names:
{%- for file in ['probes.py', 'told.py'] %}
        - /usr/local/lib/salina-report/salina/health/{{ file }}:
            - source: salt://_utils/salina/health/{{ file }}
{%- endfor %}
    - makedirs: True
    - mode: '0644'

report-settings:
  file.managed:
    - names:
        - /etc/salina/report/checks.json:
            - contents: {{ pillar.host.checks | json | json }}
        - /etc/salina/report/stunnel.conf:
            - source: salt://report/files/stunnel.conf
            - template: jinja
    - makedirs: True
    - mode: '0644'

report-units:
  file.managed:
    - names:
{%- for unit in sockets + ['salina-report@.service', 'salina-report-tls@.service'] %}
        - /etc/systemd/system/{{ unit }}:
            - source: salt://report/files/{{ unit }}
{%- endfor %}
    - template: jinja
    - mode: '0644'

report-units-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: report-units

report-sockets:
  daemon.running:
    - names: {{ sockets | json }}
    - require:
        - file: report-program
        - file: report-settings
        - module: report-units-loaded
        - sls: tls
{%- for unit in sockets %}

report-{{ unit }}-current:
  daemon.current:
    - name: {{ unit | json }}
    - restart: True
    - files: [/etc/systemd/system/{{ unit }}]
    - require:
        - daemon: report-sockets
{%- endfor %}
