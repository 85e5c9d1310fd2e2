{%- set app = pillar.app %}
include:
  - common.turn
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

# With the socket the agent restarts as well, and nobody answers the balancers meanwhile.
health-socket-current:
  daemon.current:
    - name: salina-health.socket
    - restart: True
    - turn: app
    - files: [/etc/systemd/system/salina-health.socket]
    - require:
        - daemon: health-current
