# Restores the database of one application, or of all of them: now or as of a moment, in its place or under a new
# name. Without `confirm` it only shows what it would do. After an interruption, run the same command again.
#   salt-run state.orchestrate orch.restore pillar='{"application": "crm"}'
#   salt-run state.orchestrate orch.restore pillar='{"application": "crm", "time": "2026-11-29 12:00:00", "confirm": "crm"}'
#   salt-run state.orchestrate orch.restore pillar='{"application": "all", "time": "2026-11-29 12:00:00"}'
{%- set change = salt['saltutil.runner']('backup.restore', kwarg=pillar) %}
{%- include 'orch/change.jinja' %}
