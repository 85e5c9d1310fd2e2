# Makes the database cluster from the backups again, when every database host has lost its data. Without `confirm` it
# only shows what it would do. After an interruption, run the same command again.
#   salt-run state.orchestrate orch.restore_cluster
#   salt-run state.orchestrate orch.restore_cluster pillar='{"time": "2026-11-29 12:00:00", "confirm": "all"}'
{%- set change = salt['saltutil.runner']('backup.restore_cluster', kwarg=pillar) %}
{%- include 'orch/change.jinja' %}
