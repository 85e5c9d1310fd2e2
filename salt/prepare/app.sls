include:
  - application.source
  - {{ pillar.app.kind }}.prepare
  - gluster.client
  - database_route
  - nginx
