# Roles and databases of the applications: made by the primary, awaited by the others.
include:
  - patroni

database-present:
  database.present:
    - wait: {{ pillar.database.settings.wait }}
    - require:
        - sls: patroni
