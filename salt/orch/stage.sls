# Makes the application with `copy_of` in pillar/topology.yaml a neutral copy of its original. Without `confirm` it
# only shows what it would do. After an interruption, run the same command again.
#   salt-run state.orchestrate orch.stage
#   salt-run state.orchestrate orch.stage pillar='{"application": "crm_staging", "confirm": "crm_staging"}'
{%- set change = salt['saltutil.runner']('stage.begin', kwarg=pillar) %}
{%- include 'orch/change.jinja' %}
