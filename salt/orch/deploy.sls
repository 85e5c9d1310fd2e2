# Deploys the whole fleet, tier by tier; the hosts of a tier together. The first failure ends it.
#   salt-run state.orchestrate orch.deploy
{%- set tiers = salt['saltutil.runner']('topology.tiers') %}

every planned minion answers:
  salt.runner:
    - name: fleet.ready
    - failhard: True
{%- for tier in tiers %}

{{ tier.name }}:
  salt.state:
    - tgt: {{ tier.hosts | json }}
    - tgt_type: list
    - highstate: True
    - failhard: True
{%- endfor %}

every minion has its configuration:
  salt.runner:
    - name: fleet.ready
    - failhard: True
