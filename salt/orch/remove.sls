# Deletes what an application that left pillar/topology.yaml has left behind: its volume, the copies of its files,
# its database. Without `confirm` it only shows what it would do. After an interruption, run the same command again.
#   salt-run state.orchestrate orch.remove pillar='{"application": "crm_staging"}'
#   salt-run state.orchestrate orch.remove pillar='{"application": "crm_staging", "confirm": "crm_staging"}'
{%- set change = salt['saltutil.runner']('leftover.begin', kwarg=pillar) %}
{%- include 'orch/change.jinja' %}
