# The reverse proxy before the application's ports on loopback. One file, judged as a whole.
{%- import_yaml "packages.yaml" as packages %}
{%- set app = pillar.app %}

nginx-packages:
  pkg.installed:
    - pkgs: {{ packages.nginx | json }}

nginx-configuration:
  file.managed:
    - name: /etc/nginx/nginx.conf
    - source: salt://nginx/files/nginx.conf
    - template: jinja
    - mode: '0644'
    - check_cmd: nginx -t -q -c
    - require:
        - pkg: nginx-packages

nginx-service:
  service.running:
    - name: nginx
    - enable: True
    - reload: True
    - watch:
        - file: nginx-configuration
