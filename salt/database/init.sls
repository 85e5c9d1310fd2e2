# Roles and databases of the applications: the primary creates them, the other hosts wait for them.
include:
  - patroni

database-present:
  database.present:
    - wait: {{ pillar.database.settings.wait | json }}
    - require:
        - patroni: patroni-configured
