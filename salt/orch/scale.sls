# Makes a pool larger or smaller. Interrupted, the same command goes on where it was.
#   salt-run state.orchestrate orch.scale pillar='{"pool": "app", "count": 5}'
#   salt-run state.orchestrate orch.scale pillar='{"pool": "app", "add": ["s7"], "remove": ["s2"]}'
{%- set function = 'fleet.plan' if opts.test else 'fleet.begin' %}
{%- set change = salt['saltutil.runner'](function, kwarg=pillar) %}
{%- include 'orch/change.jinja' %}
