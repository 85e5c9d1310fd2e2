include:
  - balancer
