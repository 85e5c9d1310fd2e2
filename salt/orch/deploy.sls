# Deploys the whole fleet tier by tier, and the hosts of one tier together. Stops at the first failure.
# Meanwhile the hosts of the later tiers do what they can do alone.
#   salt-run state.orchestrate orch.deploy
{%- set tiers = salt['saltutil.runner']('topology.tiers') %}
{%- set later = tiers[1:] | map(attribute='hosts') | sum(start=[]) %}
{%- set first = 'every planned minion answers' %}

{{ first }}:
  salt.runner:
    - name: fleet.ready
{%- if later %}

every later host does what it can do alone:
  salt.state:
    - tgt: {{ later | json }}
    - tgt_type: list
    - sls: prepare
    - parallel: True
    - require:
      - salt: {{ first }}
{%- endif %}
{%- for tier in tiers %}
{%- if not loop.first %}

{{ tier.name }} can begin:
  salt.runner: # when its hosts have done what they can do alone
    - name: fleet.ready
    - hosts: {{ tier.hosts | json }}
    - require:
      - salt: {{ loop.previtem.name }}
{%- endif %}

{{ tier.name }}:
  salt.state:
    - tgt: {{ tier.hosts | json }}
    - tgt_type: list
    - highstate: True
    - require:
      - salt: {{ first if loop.first else tier.name ~ ' can begin' }}
{%- endfor %}

every minion has its configuration:
  salt.runner:
    - name: fleet.ready
    - require:
      - salt: {{ tiers[-1].name }}

every step succeeded:
  orchestration.succeeded:
    - order: last
