# A Node application. Staging prepares a new version beside the old one and tries it there: its
# packages, then its migrations. Only then does production change and the service restart.
include:
  - node.configuration
{%- if pillar.app.held %}
  - node.held
{%- endif %}
  - node.runtime
  - node.dependencies
  - node.once
  - node.production
  - node.service

# A host that gets no turn for its settings does not change its code either.
extend:
  application-production:
    checkout:
      - require:
          - application: node-reconfigured
