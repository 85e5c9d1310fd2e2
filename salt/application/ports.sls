# Only a process with CAP_NET_BIND_SERVICE can bind the ports of this host's services, so no other user
# can take one while its service restarts (decision 34). The services are restarted before, because
# their units give them the capability.
{%- set below = pillar.app.reserved_below %}
include:
  - {{ pillar.app.kind | json }}
  - database_route

ports-reserved:
  reserved_ports.reserved:
    - below: {{ below | json }}
    - require:
        - daemon: {{ pillar.app.kind }}-current
        - daemon: database-route-restarted

# A boot does the same before any service starts.
ports-at-boot:
  file.managed:
    - name: /etc/sysctl.d/60-salina-ports.conf
    - contents: |
        # Managed by Salt (salt/application).
        net.ipv4.ip_unprivileged_port_start = {{ below }}
    - mode: '0644'
    - require:
        - reserved_ports: ports-reserved
