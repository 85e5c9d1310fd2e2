# The service's address, which two balancers share.
include:
  - balancer
  - pair{{ '' if pillar.pair is defined else '.absent' }}
