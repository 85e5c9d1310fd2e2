# HAProxy listens at the shared address, also while the other host has it.
{%- set family = 'ipv6' if ':' in pillar.balancer.address else 'ipv4' %}
include:
  - haproxy

pair-bound:
  sysctl.present:
    - name: net.{{ family }}.ip_nonlocal_bind
    - value: 1
    - config: /etc/sysctl.d/60-salina-pair.conf
    - require_in:
        - daemon: haproxy-service
