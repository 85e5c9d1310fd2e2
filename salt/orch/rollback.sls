# Brings back the release and the database that the last upgrade of an application has replaced. Without `confirm`
# it only shows what would be lost. After an interruption, run the same command again: it takes no second step back.
#   salt-run state.orchestrate orch.rollback
#   salt-run state.orchestrate orch.rollback pillar='{"application": "crm", "confirm": "crm"}'
{%- set change = salt['saltutil.runner']('upgrade.rollback', kwarg=pillar) %}
{%- include 'orch/change.jinja' %}
