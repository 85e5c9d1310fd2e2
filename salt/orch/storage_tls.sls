# Moves the files of a running fleet to TLS. It stops every application for about a minute, because GlusterFS
# with TLS and without it cannot talk to each other. After an interruption, run the same command again.
#   salt-run state.orchestrate orch.storage_tls
{%- set change = salt['saltutil.runner']('storage.tls') %}
{%- include 'orch/change.jinja' %}
