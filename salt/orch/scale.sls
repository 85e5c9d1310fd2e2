# Makes a pool larger or smaller. After an interruption, run the same command again to finish it.
#   salt-run state.orchestrate orch.scale pillar='{"pool": "app", "count": 5}'
#   salt-run state.orchestrate orch.scale pillar='{"pool": "app", "add": ["s7"], "remove": ["s2"]}'
{%- set function = 'fleet.plan' if opts.test else 'change.begin' %}
{%- set request = pillar or {'pool': none} %}{# without a pool, fleet.plan would plan an apply #}
{%- set change = salt['saltutil.runner'](function, kwarg=request) %}
{%- include 'orch/change.jinja' %}
