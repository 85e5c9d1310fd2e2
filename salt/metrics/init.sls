# The numbers of this host for Prometheus. stunnel is the one door to all exporters: it takes the certificates of
# monitoring hosts only, and connects them to the exporter that they ask for. Exporters listen on sockets and on
# loopback.
include:
  - tls
  - metrics.program

metrics-settings:
  file.managed:
    - name: /etc/salina/metrics/stunnel.conf
    - source: salt://metrics/files/stunnel.conf
    - template: jinja
    - makedirs: True
    - mode: '0644'

metrics-units-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: metrics-units
{%- for unit in ['prometheus-node-exporter.socket', 'salina-metrics'] %}

metrics-{{ unit }}:
  daemon.running:
    - name: {{ unit | json }}
    - require:
        - pkg: metrics-packages
        - file: metrics-settings
        - module: metrics-units-loaded
        - sls: tls
    - require_in:
        - daemon: metrics-upgraded
{%- endfor %}

metrics-upgraded:
  daemon.all_upgraded:
    - services: [prometheus-node-exporter, salina-metrics]
{%- for unit, file in {
    'prometheus-node-exporter': 'prometheus-node-exporter.service',
    'prometheus-node-exporter.socket': 'prometheus-node-exporter.socket',
    'salina-metrics': 'salina-metrics.service',
}.items() %}

metrics-{{ unit }}-restarted:
  daemon.current:
    - name: {{ unit | json }}
    - restart: True
    - files: [/etc/systemd/system/{{ file }}]
    - require:
        - daemon: metrics-upgraded
{%- endfor %}

metrics-current:
  daemon.current:
    - name: salina-metrics
    - files: [/etc/salina/metrics/stunnel.conf, /etc/salina/tls/metrics.crt, /etc/salina/tls/ca.crt]
    - require:
        - daemon: metrics-salina-metrics-restarted
