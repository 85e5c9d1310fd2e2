# Applies the states of hosts that a change skipped because they were down. _runners/join.py calls it. By hand:
#   salt-run state.orchestrate orch.catch_up pillar='{"hosts": ["nas3"]}'
each minion answers:
  salt.runner: # an operator may be applying states there
    - name: fleet.ready
    - hosts: {{ pillar.hosts | json }}

each host caught up:
  salt.state:
    - tgt: {{ pillar.hosts | json }}
    - tgt_type: list
    - highstate: True
    - require:
      - salt: each minion answers

every step succeeded:
  orchestration.succeeded:
    - order: last
