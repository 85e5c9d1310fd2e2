# pgbouncer restarts in the turn of its host, because the application's connections end with it.
include:
  - common.turn
  - database_route.configuration

database-route-service:
  daemon.running:
    - name: pgbouncer
    - require:
        - module: database-route-unit-loaded
        - file: database-route-pgbouncer.ini
        - file: database-route-userlist.txt

database-route-upgraded:
  daemon.upgraded:
    - name: pgbouncer
    - turn: app
    - require:
        - daemon: database-route-service

{%- if 'balancer' not in pillar.host.roles %}

# HAProxy gets the settings of its unit only when it starts. This host serves nobody in its turn. On a
# balancer, where a restart would end the connections of users, it gets them at the next boot.
database-route-haproxy:
  daemon.current:
    - name: haproxy
    - restart: True
    - turn: app
    - files: [/etc/systemd/system/haproxy.service.d/salina.conf]
    - require:
        - daemon: haproxy-reloaded
        - daemon: database-route-upgraded
    - require_in:
        - daemon: database-route-restarted
{%- endif %}

# Only a restart moves pgbouncer to another port, or gives it the capability to bind one.
database-route-restarted:
  daemon.current:
    - name: pgbouncer
    - files: [/etc/pgbouncer/pgbouncer.ini, /etc/systemd/system/pgbouncer.service.d/salina.conf]
    - restart: True
    - turn: app
    - require:
        - daemon: database-route-upgraded

database-route-reloaded:
  daemon.current:
    - name: pgbouncer
    - files: [/etc/pgbouncer/userlist.txt, {{ pillar.database_route.ca | json }}]
    - require:
        - daemon: database-route-restarted
