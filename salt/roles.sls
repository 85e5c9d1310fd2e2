include:
{%- for role in pillar.node.roles %}
  - role.{{ role }}
{%- endfor %}
