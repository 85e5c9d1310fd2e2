# Every host has these, whatever its roles are.
include:
  - common.python
  - common.packages
  - common.hosts
  - common.minion
  - common.turn
  - ssh
  - tls
  - ufw
  - updates

# A minion keeps the pillar that it got when it started. In a new fleet that is none, because the master
# had no secrets yet. The execution modules need it as soon as they are there.
pillar-refreshed:
  module.run:
    - saltutil.refresh_pillar: []
    - onchanges:
        - file: python-loaded
