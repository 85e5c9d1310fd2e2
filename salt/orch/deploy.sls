# Deploys the whole fleet tier by tier, and the hosts of one tier together. Stops at the first failure.
# Meanwhile the hosts of the later tiers do what they can do alone.
#   salt-run state.orchestrate orch.deploy
{%- set change = salt['saltutil.runner']('change.deployment', kwarg={'test': opts.test}) %}
{%- include 'orch/change.jinja' %}
