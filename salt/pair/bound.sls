# HAProxy listens at the shared address, also while the other host has it.
include:
  - haproxy
{%- for family in ['ipv4', 'ipv6'] %}

pair-bound-{{ family }}:
  sysctl.present:
    - name: net.{{ family }}.ip_nonlocal_bind
    - value: 1
    - config: /etc/sysctl.d/60-salina-pair.conf
    - require_in:
        - daemon: haproxy-service
{%- endfor %}
