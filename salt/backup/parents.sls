# The directories in which those of the settings are, where they are missing. They belong to root: in the
# private directory of one service, another one could not reach its own.
backup-parents:
  file.directory:
    - names:
{%- for parent in pillar.backup.parents %}
        - {{ parent | json }}:
            - creates: {{ parent | json }}
{%- endfor %}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True
