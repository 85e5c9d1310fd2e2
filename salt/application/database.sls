# Waits for the database, because its hosts may still be applying their own states.
{%- set app = pillar.app %}
include:
  - database_route

application-database:
  application.database_answers:
    - name: {{ app.database.name }}
    - wait: {{ app.settings.wait }}
    - require:
        - daemon: haproxy-reloaded
        - daemon: database-route-reloaded
