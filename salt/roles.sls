{%- if pillar.host.roles %}
include:
{%- for role in pillar.host.roles %}
  - role.{{ role }}
{%- endfor %}
{%- else %}
{}
{%- endif %}
