# nginx runs with its newest files. Whatever restarts or reloads it takes the host's turn.
include:
  - common.turn
  - nginx.configuration

# Debian's first configuration listens on all addresses, and only a restart moves nginx to one address.
# Any other address comes with the reload below.
nginx-listening:
  application.listening:
    - name: nginx
    - address: 127.0.0.1
    - port: {{ pillar.app.local_port | json }}
    - require:
        - file: nginx-configuration
        - module: nginx-unit-loaded

nginx-service:
  daemon.running:
    - name: nginx
    - require:
        - application: nginx-listening
        - module: nginx-unit-loaded
        - file: nginx-logs

nginx-upgraded:
  daemon.upgraded:
    - name: nginx
    - turn: app
    - require:
        - daemon: nginx-service

# nginx gets the settings of its unit only when it starts.
nginx-restarted:
  daemon.current:
    - name: nginx
    - restart: True
    - turn: app
    - files: [/etc/systemd/system/nginx.service.d/salina.conf]
    - require:
        - daemon: nginx-upgraded

nginx-current:
  daemon.current:
    - name: nginx
    - turn: app
    - files:
        - /etc/nginx/nginx.conf
        - /etc/nginx/older-balancers.conf
        - /etc/salina/tls/ca.crt
        - /etc/salina/tls/web.crt
    - require:
        - daemon: nginx-restarted
