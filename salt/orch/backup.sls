# Makes a backup now, and waits for its end. `kind`: full, diff (by default) or incr.
#   salt-run state.orchestrate orch.backup
#   salt-run state.orchestrate orch.backup pillar='{"kind": "full"}'
{%- set change = salt['saltutil.runner']('backup.make_steps', kwarg={'kind': pillar.get('kind', 'diff')}) %}
{%- include 'orch/change.jinja' %}
