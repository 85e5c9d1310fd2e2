# The reverse proxy in front of the application's ports on loopback. Its configuration is one file, so
# that nginx can check it as a whole.
{%- import_yaml "packages.yaml" as packages %}
{%- set app = pillar.app %}
include:
  - common.turn

nginx-packages:
  pkg.installed:
    - pkgs: {{ packages.nginx | json }}
    - aggregate: True

nginx-configuration:
  file.managed:
    - name: /etc/nginx/nginx.conf
    - source: salt://nginx/files/nginx.conf
    - template: jinja
    - mode: '0644'
    - check_cmd: nginx -t -q -c
    - require:
        - pkg: nginx-packages

# Debian's first configuration listens on all addresses, and only a restart moves nginx to one address.
nginx-listening:
  application.listening:
    - name: nginx
    - address: {{ app.address }}
    - port: {{ app.port }}
    - require:
        - file: nginx-configuration

nginx-service:
  service.running:
    - name: nginx
    - enable: True
    - require:
        - application: nginx-listening

nginx-upgraded:
  daemon.upgraded:
    - name: nginx
    - turn: app
    - require:
        - service: nginx-service

nginx-current:
  daemon.current:
    - name: nginx
    - turn: app
    - files: [/etc/nginx/nginx.conf]
    - require:
        - daemon: nginx-upgraded
