# The web page of Nagios. nginx asks for the password and starts Nagios' own programs through fcgiwrap; they read
# Nagios' files, and cannot reach the pipe of its commands.
include:
  - tls
  - monitoring.program

page-password:
  file.managed:
    - name: /etc/nginx/monitoring.users
    - contents: {{ '%s:%s' | format(pillar.monitoring.user, pillar.monitoring.password) | json }}
    - group: www-data
    - mode: '0640'
    - show_changes: False
    - require:
        - sls: monitoring.program

page-settings:
  file.managed:
    - names:
        - /etc/nagios4/cgi.cfg:
            - source: salt://monitoring/files/cgi.cfg
        - /etc/systemd/system/nginx.service.d/salina.conf:
            - source: salt://nginx/files/unit.conf
        - /etc/systemd/system/fcgiwrap.service.d/salina.conf:
            - source: salt://monitoring/files/fcgiwrap.conf
    - template: jinja
    - makedirs: True
    - mode: '0644'
    - require:
        - sls: monitoring.program

page-units-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: page-settings

page-nginx:
  file.managed:
    - name: /etc/nginx/nginx.conf
    - source: salt://monitoring/files/nginx.conf
    - template: jinja
    - mode: '0644'
    - check_cmd: nginx -t -q -c
    - require:
        - file: page-password
        - sls: tls

page-fcgiwrap-service:
  daemon.running:
    - name: fcgiwrap.socket
    - require:
        - module: page-units-loaded
    - require_in:
        - daemon: page-fcgiwrap-upgraded

page-nginx-service:
  daemon.running:
    - name: nginx
    - require:
        - file: page-nginx
        - module: page-units-loaded
    - require_in:
        - daemon: page-nginx-upgraded
{%- for name, files in {
    'fcgiwrap': ['/etc/systemd/system/fcgiwrap.service.d/salina.conf'],
    'nginx': ['/etc/systemd/system/nginx.service.d/salina.conf', '/etc/nginx/nginx.conf'],
}.items() %}

page-{{ name }}-upgraded:
  daemon.upgraded:
    - name: {{ name | json }}

page-{{ name }}-current:
  daemon.current:
    - name: {{ name | json }}
    - restart: True
    - files: {{ files | json }}
    - require:
        - daemon: page-{{ name }}-upgraded
{%- endfor %}
