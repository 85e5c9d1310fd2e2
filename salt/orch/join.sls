# Takes in hosts of one pool whose minions started by themselves. _runners/join.py calls it. By hand:
#   salt-run state.orchestrate orch.join pillar='{"hosts": ["s4"]}'
{%- set change = salt['saltutil.runner']('join.begin', kwarg=dict(pillar, test=opts.test)) %}
{%- include 'orch/change.jinja' %}
