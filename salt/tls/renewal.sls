# The timer that renews the certificates of this host.
tls-renewal:
  file.managed:
    - names:
{%- for unit in ['salina-certificates.service', 'salina-certificates.timer'] %}
        - /etc/systemd/system/{{ unit }}:
            - source: salt://tls/files/{{ unit }}
{%- endfor %}
    - template: jinja

tls-renewal-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: tls-renewal

tls-renewal-timer:
  daemon.running:
    - name: salina-certificates.timer
    - require:
        - module: tls-renewal-loaded
