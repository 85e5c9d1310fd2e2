# Roles follow from the minion's id alone: the external pillar looks it up in the topology.
base:
  '*':
    - common
    - roles
