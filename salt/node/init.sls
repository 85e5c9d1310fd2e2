# A Node application. A new release is on the host beside the one that runs, and its migrations are tried
# from there. Only then does production change and the service restart.
include:
  - application.release # may take minutes, as the third one may, so the host takes its turn later
  - node.configuration
  - application.stored
{%- if pillar.app.held %}
  - node.held
{%- endif %}
  - node.directories
  - node.once
  - node.service
