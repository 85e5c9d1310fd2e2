# The logs of all hosts. nginx knows each sender by its certificate, and gives its lines to the receiver of this host
# alone, so no host writes the files of another one. Nothing can be read or deleted over the network.
{%- set kept = pillar.logs.kept %}
include:
  - log_host.receivers
  - monitoring.program
  - tls

log-host-nginx:
  file.managed:
    - name: /etc/salina/logs/nginx.conf
    - source: salt://log_host/files/nginx.conf
    - template: jinja
    - context: {kept: {{ kept | json }}}
    - makedirs: True
    - mode: '0644'
    - check_cmd: nginx -t -q -c
    - require:
        - sls: log_host.receivers # whose directory nginx uses as well
        - sls: monitoring.program
        - sls: tls

log-host-service:
  daemon.running:
    - name: salina-logs
    - require:
        - file: log-host-nginx

log-host-upgraded:
  daemon.upgraded:
    - name: salina-logs
    - require:
        - daemon: log-host-service

log-host-restarted:
  daemon.current:
    - name: salina-logs
    - restart: True
    - files: [/etc/systemd/system/salina-logs.service]
    - require:
        - daemon: log-host-upgraded

log-host-current:
  daemon.current:
    - name: salina-logs
    - files: [/etc/salina/logs/nginx.conf, /etc/salina/tls/ca.crt, /etc/salina/tls/logs-kept.crt]
    - require:
        - daemon: log-host-restarted
