# The service's published address: HAProxy ends TLS and distributes requests over the app hosts.
include:
  - haproxy
  - load
  - tls

balancer-error-page:
  file.managed:
    - name: /etc/haproxy/errors/503-balancer.http
    - source: salt://balancer/files/503.http
    - mode: '0644'
    - require:
        - pkg: haproxy-packages

balancer-fragment:
  file.managed:
    - name: /etc/haproxy/conf.d/20-balancer.cfg
    - source: salt://balancer/files/20-balancer.cfg
    - template: jinja
    - mode: '0644'
    - check_cmd: /usr/local/sbin/haproxy-check 20-balancer.cfg
    - require:
        - file: haproxy-global
        - file: balancer-error-page
        - certificate: tls-certificate
    - require_in:
        - service: haproxy-service
