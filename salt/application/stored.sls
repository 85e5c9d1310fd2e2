# The release on this host, and its archive on the volume. A host that runs no release yet runs this one;
# another host keeps the release that it runs until application.production.
{%- set release = pillar.app.release %}
include:
  - application.release
  - gluster.mount

application-release:
  release.present:
    - name: {{ release.directory }}
    - store: {{ release.store }}
    - patience: {{ pillar.app.settings.wait }}
    - require:
        - release: application-built
        - sls: gluster.mount

application-first:
  release.first:
    - name: {{ release.directory }}
    - require:
        - release: application-release
