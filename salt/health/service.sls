{%- set app = pillar.app %}
include:
  - health.program

# systemd keeps the socket open while the agent restarts, so no check of a balancer fails meanwhile.
health-socket:
  daemon.running:
    - name: salina-health.socket
    - require:
        - file: health-program
        - file: health-configuration
        - file: health-units

health-service:
  daemon.running:
    - name: salina-health
    - require:
        - daemon: health-socket

health-upgraded:
  daemon.upgraded:
    - name: salina-health
    - require:
        - daemon: health-service

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
