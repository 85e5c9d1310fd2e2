# The files of pgbouncer and of HAProxy's part of the way.
{%- from "packages.jinja" import packages with context %}
include:
  - haproxy
  - tls

database-route-packages:
  pkg.installed:
    - pkgs: {{ packages.database_route | json }}
    - aggregate: True

database-route-fragment:
  file.managed:
    - name: /etc/haproxy/conf.d/10-database.cfg
    - source: salt://database_route/files/10-database.cfg
    - template: jinja
    - mode: '0644'
    - check_cmd: /usr/local/sbin/haproxy-check 10-database.cfg
    - require:
        - file: haproxy-global
        - file: tls-ca
    - require_in:
        - daemon: haproxy-service
{% for file, mode in [('pgbouncer.ini', '0644'), ('userlist.txt', '0640')] %}
database-route-{{ file }}:
  file.managed:
    - name: /etc/pgbouncer/{{ file }}
    - source: salt://database_route/files/{{ file }}
    - template: jinja
    - user: root
    - group: postgres
    - mode: '{{ mode }}'
    - show_changes: False
    - require:
        - pkg: database-route-packages
        - file: tls-ca
{% endfor %}
database-route-unit:
  file.managed:
    - name: /etc/systemd/system/pgbouncer.service.d/salina.conf
    - source: salt://database_route/files/pgbouncer.conf
    - makedirs: True
    - mode: '0644'
    - require:
        - pkg: database-route-packages

database-route-unit-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: database-route-unit
