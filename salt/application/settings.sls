# The directory of the application's settings. It needs no other host, so a service can get its settings
# while the volume or the database is away. With `order: 3` a host with several roles does this before it
# waits for its other services; Salt brings forward only what the next state requires directly.
include:
  - application.user

application-settings:
  file.directory:
    - name: /etc/{{ pillar.app.kind }}
    - user: root
    - group: {{ pillar.app.kind | json }}
    - mode: '0750'
    - order: 3
    - require:
        - user: application-user
