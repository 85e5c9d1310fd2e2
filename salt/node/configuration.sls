include:
  - application.directories

# The shell keeps the log file open, so logrotate must copy the file and then empty it.
extend:
  application-logrotate:
    file:
      - context: {rotation: copytruncate}

# Only root may read this file: systemd reads it before it becomes the user node.
node-environment-file:
  file.managed:
    - name: /etc/node/environment
    - source: salt://node/files/environment
    - template: jinja
    - mode: '0600'
    - show_changes: False
    - require:
        - file: application-settings

# Tells `sequelize --config` where the URL is. With `--url` every user of the host would see it.
node-sequelize:
  file.managed:
    - name: /etc/node/sequelize.json
    - contents: '{"use_env_variable": "DATABASE_URL"}'
    - mode: '0644'
    - require:
        - file: application-settings

# Some programs leave their temporary files behind, so systemd-tmpfiles removes them.
node-scratch:
  file.managed:
    - name: /etc/tmpfiles.d/node.conf
    - contents: |
        # Managed by Salt (salt/node).
{%- for directory in pillar.app.definition.node.scratch %}
        e /var/cache/node/{{ directory }} - - - 1d
{%- endfor %}
    - mode: '0644'
