# The traffic that may pass through is in pillar `ufw` (routes, forward, forward_ping), beside the
# host's own rules.
include:
  - ufw
