# Every host has these, whatever its roles are.
include:
  - common.system
  - common.python
  - common.packages
  - common.hosts
  - common.minion
  - common.turn
  - chrony
  - ssh
  - tls
  - ufw
  - updates
{%- if pillar.report is defined %}
  - report
{%- endif %}
{%- if pillar.metrics is defined %}
  - metrics
{%- endif %}
  - logs{{ '' if pillar.logs is defined else '.absent' }}
