# HAProxy restarts for a file that it reads only at its start, and reloads for all others. A reload
# closes no connection, also after an upgrade of the package: the master process starts the new program.
include:
  - haproxy.configuration
{%- if pillar.pair is defined %}
  - common.turn
{%- endif %}

haproxy-unit-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: haproxy-unit

haproxy-service:
  daemon.running:
    - name: haproxy
    - require:
        - file: haproxy-default
        - module: haproxy-unit-loaded

haproxy-restarted:
  daemon.current:
    - name: haproxy
    - files: [/etc/default/haproxy]
    - restart: True
{%- if pillar.pair is defined %} # the other one of the pair has the address meanwhile
    - turn: {{ pillar.pair.role | json }}
{%- endif %}
    - require:
        - daemon: haproxy-service

haproxy-upgraded:
  daemon.upgraded:
    - name: haproxy
    - reload: True
    - require:
        - daemon: haproxy-restarted

# All files that any host may have. A file that this host does not have is ignored.
haproxy-reloaded:
  daemon.current:
    - name: haproxy
    - files:
        - /etc/systemd/system/haproxy.service.d/salina.conf
        - /etc/haproxy/conf.d/00-global.cfg
        - /etc/haproxy/conf.d/05-metrics.cfg
        - /etc/haproxy/conf.d/10-database.cfg
        - /etc/haproxy/conf.d/20-balancer.cfg
        - /etc/haproxy/errors/429-balancer.html
        - /etc/haproxy/errors/503-balancer.http
        - /etc/haproxy/errors/503-closed.html
        - /etc/salina/tls/ca.crt
{%- for certificate in pillar.tls.certificates if 'haproxy' in certificate.readers %}
        - /etc/salina/tls/{{ certificate.name }}.crt
{%- endfor %}
{%- for one in pillar.get('balancer', {}).get('applications', []) if one.visitors %}
        - /etc/haproxy/conf.d/15-visitors-{{ one.name }}.cfg
{%- endfor %}
    - require:
        - daemon: haproxy-upgraded
