# What passes through is in pillar `ufw` (routes, forward, forward_ping), as every host's rules are.
include:
  - ufw
