# Roles follow from the minion id alone: the external pillar looks the id up in the topology. The folder local/ is
# the operator's own, and git ignores it (docs/guides/add-your-own.md).
base:
  '*':
    - common
    - roles
{%- if 'local' in salt['cp.list_states']() %}
    - local
{%- endif %}
    - applied
