# The service's published address: HAProxy ends TLS and distributes requests over the app hosts.
include:
  - acme
  - haproxy
  - load
{%- if pillar.pair is defined %}
  - pair.bound
{%- endif %}
  - tls

{% for target, source in [('503-balancer.http', '503.http'), ('503-closed.html', 'closed.html'), ('429-balancer.html', '429.html')] %}
balancer-{{ source }}:
  file.managed:
    - name: /etc/haproxy/errors/{{ target }}
    - source: salt://balancer/files/{{ source }}
    - mode: '0644'
    - require:
        - pkg: haproxy-packages
    - require_in:
        - file: balancer-fragment
{% endfor %}
# App hosts of an earlier version do not speak TLS. HAProxy goes on without it until they do.
balancer-app-hosts:
  balancer.app_hosts_have_tls:
    - name: TLS on the app hosts
    - wait: 600
    - require:
        - sls: tls

# The users of a copy are there before the rules that name them, and go after these. So HAProxy takes its
# configuration at every moment, also if an apply is killed.
{%- for one in pillar.balancer.applications if one.visitors %}
balancer-visitors-{{ one.name }}:
  file.managed:
    - name: /etc/haproxy/conf.d/15-visitors-{{ one.name }}.cfg
    - source: salt://balancer/files/15-visitors.cfg
    - template: jinja
    - context: {{ {'application': one.name} | json }}
    - mode: '0600'
    - show_changes: False
    - require:
        - file: haproxy-global
        - balancer: balancer-app-hosts
    - require_in:
        - file: balancer-fragment
{%- endfor %}

balancer-fragment:
  file.managed:
    - name: /etc/haproxy/conf.d/20-balancer.cfg
    - source: salt://balancer/files/20-balancer.cfg
    - template: jinja
    - mode: '0644'
    - check_cmd: /usr/local/sbin/haproxy-check 20-balancer.cfg
    - require:
        - file: haproxy-global
        - sls: tls
        - balancer: balancer-app-hosts
    - require_in:
        - daemon: haproxy-service

balancer-former-visitors:
  file.tidied:
    - name: /etc/haproxy/conf.d
    - matches: ['15-visitors.*\.cfg$']
    - exclude:
{%- for one in pillar.balancer.applications if one.visitors %}
        - 15-visitors-{{ one.name }}\.cfg$
{%- else %} []
{%- endfor %}
    - onlyif: test -d /etc/haproxy/conf.d
    - require:
        - file: balancer-fragment
