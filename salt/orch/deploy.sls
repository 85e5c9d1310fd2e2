# Deploys the whole fleet tier by tier, and the hosts of one tier together. Stops at the first failure.
#   salt-run state.orchestrate orch.deploy
{%- set tiers = salt['saltutil.runner']('topology.tiers') %}
{%- set first = 'every planned minion answers' %}

{{ first }}:
  salt.runner:
    - name: fleet.ready
{%- for tier in tiers %}

{{ tier.name }}:
  salt.state:
    - tgt: {{ tier.hosts | json }}
    - tgt_type: list
    - highstate: True
    - require:
      - salt: {{ first if loop.first else loop.previtem.name }}
{%- endfor %}

every minion has its configuration:
  salt.runner:
    - name: fleet.ready
    - require:
      - salt: {{ tiers[-1].name }}

every step succeeded:
  orchestration.succeeded:
    - order: last
