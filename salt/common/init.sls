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
{%- if pillar.management is not defined %}
  - management.absent
{%- endif %}
{%- if pillar.pair is not defined %}
  - pair.absent
{%- endif %}
  - report{{ '' if pillar.report is defined else '.absent' }}
  - metrics{{ '' if pillar.metrics is defined else '.absent' }}
  - logs{{ '' if pillar.logs is defined else '.absent' }}
