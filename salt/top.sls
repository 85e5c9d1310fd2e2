# Roles follow from the minion id alone: the external pillar looks the id up in the topology.
base:
  '*':
    - common
    - roles
    - applied
