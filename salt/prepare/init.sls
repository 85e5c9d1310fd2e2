# The part of a host that needs no other host, mostly packages: orch.deploy starts it on all hosts
# together. It leaves out the configuration of the minion, which would restart too early.
include:
  - common.system
  - common.python
  - common.packages
{%- if pillar.metrics is defined %}
  - metrics.program
{%- endif %}
  - ufw
{%- for role in pillar.host.roles if 'prepare.' ~ role in salt['cp.list_states']() %}
  - prepare.{{ role }}
{%- endfor %}
