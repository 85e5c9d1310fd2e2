# nginx's configuration is one file, so that nginx can check it as a whole; its unit, and the modes of its logs.
{%- from "packages.jinja" import packages with context %}
{%- set app = pillar.app %}
include:
  - tls

nginx-packages:
  pkg.installed:
    - pkgs: {{ packages.nginx | json }}
    - aggregate: True

# The port without TLS closes when no balancer of an earlier version can use it any more.
nginx-older-balancers:
  application.open_to_older:
    - name: /etc/nginx/older-balancers.conf
    - configuration: /etc/nginx/nginx.conf
    - address: {{ app.address | json }}
    - port: {{ app.local_port | json }}
    - balancers: {{ app.balancers | map(attribute='name') | list | json }}
    - require:
        - pkg: nginx-packages

nginx-configuration:
  file.managed:
    - name: /etc/nginx/nginx.conf
    - source: salt://nginx/files/nginx.conf
    - template: jinja
    - mode: '0644'
    - check_cmd: nginx -t -q -c
    - require:
        - pkg: nginx-packages
        - application: nginx-older-balancers
        - sls: tls

nginx-unit:
  file.managed:
    - name: /etc/systemd/system/nginx.service.d/salina.conf
    - source: salt://nginx/files/unit.conf
    - makedirs: True
    - mode: '0644'
    - require:
        - pkg: nginx-packages

nginx-unit-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: nginx-unit

# Debian's logrotate creates files with this mode. nginx does it because of its unit, but its check by the
# minion does not, and both create them for the group of root. The directory belongs to root: www-data must not
# replace a file by a link. A new file gets the directory's group, which may read the logs.
nginx-logs:
  file.directory:
    - name: /var/log/nginx
    - user: root
    - group: adm
    - dir_mode: '2755'
    - file_mode: '0640'
    - recurse: [group, mode, silent]
    - require:
        - file: nginx-configuration
