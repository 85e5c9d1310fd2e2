include:
  - application.directories

# The log goes where the shell opened it: what is rotated is copied and emptied.
extend:
  application-logrotate:
    file:
      - context: {rotation: copytruncate}

# Read by systemd before it becomes the user node.
node-environment-file:
  file.managed:
    - name: /etc/node/environment
    - source: salt://node/files/environment
    - template: jinja
    - mode: '0600'
    - show_changes: False
    - require:
        - file: application-settings

# For `sequelize --config`: where it finds the URL, which with `--url` all users of the host would see.
node-sequelize:
  file.managed:
    - name: /etc/node/sequelize.json
    - contents: '{"use_env_variable": "DATABASE_URL"}'
    - mode: '0644'
    - require:
        - file: application-settings

# Programs that leave their temporary files behind.
node-scratch:
  file.managed:
    - name: /etc/tmpfiles.d/node.conf
    - contents: |
        # Managed by Salt (salt/node).
{%- for directory in pillar.app.definition.node.scratch %}
        e /var/cache/node/{{ directory }} - - - 1d
{%- endfor %}
    - mode: '0644'
