# Steps that run once for the service, or once for each revision, on the host that comes first. They
# run in the new release, so that a failure leaves production and the service as they are.
{%- set app = pillar.app %}
include:
  - application.database
  - application.stored
  - node.configuration
{% for step in app.definition.node.once %}
node-once-{{ loop.index }}:
  once.done:
    - name: {{ (step.name ~ ' at ' ~ app.definition.source.commit if step.each_revision else step.name) | json }}
    - command: {{ step.command | json }}
    - user: node
    - cwd: {{ app.release.directory | json }}
    - env_file: /etc/node/steps
    - env: {PATH: '{{ app.release.directory }}/node_modules/.bin:/usr/local/bin:/usr/bin:/bin'}
{%- if step.login_password %}
    - secrets: {LOGIN_PASSWORD: login_password}
{%- endif %}
    - patience: {{ app.settings.wait | json }}
    - release: {{ app.release.directory | json }}
    - require:
        - application: application-database
        - release: application-release
        - file: node-steps-file
        - file: node-sequelize
{%- if not loop.first %}
        - once: node-once-{{ loop.index0 }}
{%- endif %}
    - require_in:
        - file: node-unit
{% endfor -%}
