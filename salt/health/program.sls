# The agent's Python, its configuration and its units.
{%- set app = pillar.app %}
include:
  - application.directories

health-program:
  file.managed:
    - names:
{%- for file in ['application/agent.py', 'database/psql.py'] %}
        - /usr/local/lib/salina-health/salina/{{ file }}:
            - source: salt://_utils/salina/{{ file }}
{%- endfor %}
    - makedirs: True
    - mode: '0644'

# It holds the password of the application's database.
health-configuration:
  file.managed:
    - name: /etc/{{ app.kind }}/health.json
    - source: salt://health/files/health.json
    - template: jinja
    - user: root
    - group: {{ app.kind | json }}
    - mode: '0640'
    - show_changes: False
    - require:
        - file: application-settings

health-units:
  file.managed:
    - names:
{%- for unit in ['salina-health.socket', 'salina-health.service'] %}
        - /etc/systemd/system/{{ unit }}:
            - source: salt://health/files/{{ unit }}
{%- endfor %}
    - template: jinja
    - mode: '0644'
