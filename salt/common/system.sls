# Packages and settings are those of the platform that the topology names. On a host with another system
# nothing but this state runs.
system-as-planned:
  verdict.has_platform:
    - platform: {{ pillar.host.platform | json }}
    - order: 0
    - failhard: True
