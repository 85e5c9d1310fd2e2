# The health agent: it answers the balancers' checks for everything that the host needs to serve, and
# drains the host when it takes its turn (_utils/salina/application/agent.py, _modules/turn.py).
{%- set app = pillar.app %}
include:
  - application.directories

health-program:
  file.managed:
    - names:
{%- for file in ['application/agent.py', 'database/psql.py'] %}
        - /usr/local/lib/salina-health/salina/{{ file }}:
            - source: salt://_utils/salina/{{ file }}
{%- endfor %}
    - makedirs: True
    - mode: '0644'

# It holds the password of the application's database.
health-configuration:
  file.managed:
    - name: /etc/{{ app.kind }}/health.json
    - source: salt://health/files/health.json
    - template: jinja
    - user: root
    - group: {{ app.kind }}
    - mode: '0640'
    - show_changes: False
    - require:
        - file: application-settings

health-units:
  file.managed:
    - names:
{%- for unit in ['salina-health.socket', 'salina-health.service'] %}
        - /etc/systemd/system/{{ unit }}:
            - source: salt://health/files/{{ unit }}
{%- endfor %}
    - template: jinja
    - mode: '0644'

# systemd keeps the socket open while the agent restarts, so no check of a balancer fails meanwhile.
health-socket:
  service.running:
    - name: salina-health.socket
    - enable: True
    - require:
        - file: health-program
        - file: health-configuration
        - file: health-units

health-service:
  service.running:
    - name: salina-health
    - enable: True
    - require:
        - service: health-socket
        - file: application-data

health-current:
  daemon.current:
    - name: salina-health
    - restart: True
    - files:
        - /etc/systemd/system/salina-health.service
        - /etc/{{ app.kind }}/health.json
        - /usr/local/lib/salina-health/salina/application/agent.py
        - /usr/local/lib/salina-health/salina/database/psql.py
    - require:
        - service: health-service
