# The service's address, which two balancers share.
include:
  - balancer
{%- if pillar.pair is defined %}
  - pair
{%- endif %}
