# New code starts here, in this host's turn, after the one-time steps of the application's kind. A release
# that the database does not fit waits for orch.upgrade.
{%- set app = pillar.app %}
{%- set health = app.definition.health %}
include:
  - common.turn
  - {{ app.kind | json }}
  - application.stored

application-production:
  release.active:
    - name: {{ app.release.directory | json }}
    - store: {{ app.release.store | json }}
    - service: {{ app.kind | json }}
    - turn: app
    - url: http://127.0.0.1:{{ app.definition.port }}{{ health.path }}
    - log: /var/log/{{ app.kind }}/{{ app.kind }}.log
    - cookie: {{ health.cookie | json }}
    - require:
        - release: application-first
        - application: {{ app.kind }}-reconfigured

application-releases:
  release.kept:
    - name: {{ app.release.store | json }}
    - kept: {{ app.settings.releases | json }}
    - require:
        - application: {{ app.kind }}-healthy
