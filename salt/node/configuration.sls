include:
  - application.directories

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
