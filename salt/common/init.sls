# What every host has, whatever its roles.
include:
  - common.python
  - common.hosts
  - common.minion
  - tls
  - ufw
