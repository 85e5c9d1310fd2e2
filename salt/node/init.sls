# A Node application. All of a new version is made ready beside the old one, in staging, and tried
# there: its packages, its migrations. Only then production changes, and the service restarts.
include:
  - node.runtime
  - node.dependencies
  - node.configuration
  - node.once
  - node.production
  - node.service
