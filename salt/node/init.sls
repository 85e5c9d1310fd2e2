# A Node application. A new release is on the host beside the one that runs, and its migrations are tried
# from there. Only then does production change and the service restart.
include:
  - application.release # this and application.stored may take minutes, so they come before the turn
  - node.configuration
  - application.stored
{%- if pillar.app.held %}
  - node.held
{%- endif %}
  - node.pg
  - node.directories
  - node.once
  - node.service
