# The log files of an app host go to its journal, and so to the monitoring host. nginx and the application write their
# files as before: if the journal stalls, they do not.
{%- set kind = pillar.app.kind %}
{%- set followed = {
    'nginx': {'group': 'adm', 'files': ['/var/log/nginx/' ~ kind ~ '-access.log', '/var/log/nginx/' ~ kind ~ '-error.log']},
    kind: {'group': kind, 'files': ['/var/log/' ~ kind ~ '/' ~ kind ~ '.log']},
} %}
include:
  - application.user
  - nginx

logs-files:
  file.managed:
    - names:
{%- for name, its in followed.items() %}
        - /etc/systemd/system/salina-log-{{ name }}.service:
            - context: {{ dict(its, name=name) | json }}
{%- endfor %}
    - source: salt://logs/files/salina-log.service
    - template: jinja
    - mode: '0644'
    - require:
        - user: application-user
        - pkg: nginx-packages

logs-files-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: logs-files
{%- for name in followed %}

logs-{{ name }}-followed:
  daemon.running:
    - name: salina-log-{{ name }}
    - require:
        - module: logs-files-loaded

logs-{{ name }}-upgraded:
  daemon.upgraded:
    - name: salina-log-{{ name }}
    - require:
        - daemon: logs-{{ name }}-followed

logs-{{ name }}-current:
  daemon.current:
    - name: salina-log-{{ name }}
    - restart: True
    - files: [/etc/systemd/system/salina-log-{{ name }}.service]
    - require:
        - daemon: logs-{{ name }}-upgraded
{%- endfor %}
