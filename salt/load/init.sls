# Balance by load: a daemon sets the weights of the app hosts by how fast they answer
# (_utils/salina/balancer/load.py). Any other `balance` removes the daemon, and when it stops every
# host gets its full weight again.
{%- if pillar.balancer.load %}
include:
  - haproxy

load-program:
  file.managed:
    - names:
{%- for file in ['load.py', 'haproxy.py'] %}
        - /usr/local/lib/salina-load/salina/balancer/{{ file }}:
            - source: salt://_utils/salina/balancer/{{ file }}
{%- endfor %}
    - makedirs: True
    - mode: '0644'

load-unit:
  file.managed:
    - name: /etc/systemd/system/salina-load.service
    - source: salt://load/files/salina-load.service
    - template: jinja
    - mode: '0644'

load-service:
  daemon.running:
    - name: salina-load
    - require:
        - file: load-program
        - file: load-unit
        - daemon: haproxy-service

load-upgraded:
  daemon.upgraded:
    - name: salina-load
    - require:
        - daemon: load-service

load-current:
  daemon.current:
    - name: salina-load
    - restart: True
    - files:
        - /etc/systemd/system/salina-load.service
        - /usr/local/lib/salina-load/salina/balancer/load.py
        - /usr/local/lib/salina-load/salina/balancer/haproxy.py
    - require:
        - daemon: load-upgraded
{%- else %}
load-stopped:
  service.dead:
    - name: salina-load
    - enable: False
    - prereq: # so that a prediction does not stop a service that never existed
        - file: load-absent

load-absent:
  file.absent:
    - names:
        - /etc/systemd/system/salina-load.service
        - /usr/local/lib/salina-load
{%- endif %}
