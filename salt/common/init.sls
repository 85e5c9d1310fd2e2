# Every host has these, whatever its roles are.
include:
  - common.python
  - common.packages
  - common.hosts
  - common.minion
  - tls
  - ufw

# Whatever restarted in this host's turn has done so by now.
turn-ended:
  turn.ended:
    - order: last
