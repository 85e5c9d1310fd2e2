# Brings an application to the release that its definition wants, with its database. Without `confirm` it only
# shows what it would do. After an interruption, run the same command again.
#   salt-run state.orchestrate orch.upgrade
#   salt-run state.orchestrate orch.upgrade pillar='{"application": "crm", "confirm": "crm"}'
{%- set change = salt['saltutil.runner']('upgrade.begin', kwarg=pillar) %}
{%- include 'orch/change.jinja' %}
