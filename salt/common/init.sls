# What every host has, before and after its roles.
include:
  - common.python
  - common.hosts
  - common.minion
  - ufw
  - tls
