# Makes a backup now, and waits for its end. `kind`: full, diff (by default) or incr.
#   salt-run state.orchestrate orch.backup
#   salt-run state.orchestrate orch.backup pillar='{"kind": "full"}'
{%- set step = {'name': 'a backup is made', 'runner': 'backup.make', 'arguments': {'kind': pillar.get('kind', 'diff')}} %}
{%- set change = {'what': 'backup', 'steps': [step]} %}
{%- include 'orch/change.jinja' %}
