# A Node application. Staging prepares a new version beside the old one and tries it there: its
# packages, then its migrations. Only then does production change and the service restart.
include:
  - node.runtime
  - node.dependencies
  - node.configuration
  - node.once
  - node.production
  - node.service
