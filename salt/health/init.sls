# The health agent: it answers the balancers' checks for everything that the host needs to serve, and
# drains the host when it takes its turn (_utils/salina/application/agent.py, _modules/turn.py).
include:
  - health.program
  - health.service
