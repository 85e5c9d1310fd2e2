# The release on this host, and its archive on the volume. A host that runs no release yet runs this one,
# or the one that the database belongs to; another host keeps its own until application.production.
{%- set release = pillar.app.release %}
include:
  - application.database
  - application.release
  - gluster.mount

application-release:
  release.present:
    - name: {{ release.directory | json }}
    - store: {{ release.store | json }}
    - patience: {{ pillar.app.settings.wait | json }}
    - require:
        - release: application-built
        - sls: gluster.mount

application-first:
  release.first:
    - name: {{ release.directory | json }}
    - store: {{ release.store | json }}
    - patience: {{ pillar.app.settings.wait | json }}
    - require:
        - release: application-release
        - application: application-database
