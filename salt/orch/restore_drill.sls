# Restores the newest backup on the backup host, without a network, compares it with the primary, and removes it again.
# Then each application starts with its restored database, beside the running one, and is asked for its pages.
#   salt-run state.orchestrate orch.restore_drill
{%- set change = salt['saltutil.runner']('backup.drill_steps') %}
{%- include 'orch/change.jinja' %}
