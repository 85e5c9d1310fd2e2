# Waits for the database, because its hosts may still be applying their own states.
{%- set app = pillar.app %}
include:
  - database_route

application-database:
  application.database_answers:
    - name: {{ app.database.name }}
    - wait: {{ app.settings.wait }}
    - require:
        - sls: database_route.configuration
        - sls: database_route.service
