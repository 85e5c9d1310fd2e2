# What every host has, whatever its roles.
include:
  - common.python
  - common.packages
  - common.hosts
  - common.minion
  - tls
  - ufw
