# Tries the release that an application's definition wants with a copy of its database. Users notice nothing.
#   salt-run state.orchestrate orch.rehearse pillar='{"application": "crm"}'
{%- set change = salt['saltutil.runner']('upgrade.rehearsal', kwarg=pillar) %}
{%- include 'orch/change.jinja' %}
