# Restores the newest backup on the backup host, without a network, compares it with the primary, and removes it again.
#   salt-run state.orchestrate orch.restore_drill
{%- set step = {'name': 'the backup is restored and compared', 'runner': 'backup.drill', 'arguments': {}} %}
{%- set change = {'what': 'restore drill', 'steps': [step]} %}
{%- include 'orch/change.jinja' %}
