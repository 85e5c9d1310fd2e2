# npm's configuration, for the host that builds. Odoo's rtlcss comes from the same registry.
{%- set registry = pillar.app.settings.npm_registry %}
{%- if registry %}

node-registry:
  file.keyvalue:
    - name: /etc/npmrc
    - key: registry
    - value: {{ registry | json }}
    - append_if_not_found: True
    - create_if_missing: True
    - require_in:
        - release: application-built
{%- endif %}
