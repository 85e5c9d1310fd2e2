# Waits for the database, because its hosts may still be applying their own states. It asks by a path
# that the application cannot fill.
{%- set app = pillar.app %}
include:
  - database_route

application-database:
  application.database_answers:
    - name: {{ app.database.name | json }}
    - wait: {{ app.settings.wait | json }}
    - require:
        - daemon: haproxy-reloaded
        - daemon: database-route-reloaded
