include:
{%- for role in pillar.host.roles %}
  - role.{{ role }}
{%- endfor %}
