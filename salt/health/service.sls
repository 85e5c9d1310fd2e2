{%- set app = pillar.app %}
include:
  - health.program

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

health-upgraded:
  daemon.upgraded:
    - name: salina-health
    - require:
        - service: health-service

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
        - daemon: health-upgraded
