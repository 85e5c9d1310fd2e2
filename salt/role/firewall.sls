# The traffic that may pass through is in pillar `ufw` (routes, forward, forward_ping), beside the
# host's own rules. Two firewalls share the gateways.
include:
  - ufw
{%- if pillar.pair is defined %}
  - pair
{%- endif %}
