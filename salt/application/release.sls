# The release of the application: one commit of its code with everything that it needs, built by one host
# and unpacked by the others (decision 49). It all belongs to root, so the service cannot change its own
# code. This part needs no other host; application.stored does.
{%- from "packages.jinja" import packages with context %}
include:
  - common.builder
  - {{ pillar.app.kind }}.packages

application-packages:
  pkg.installed:
    - pkgs: {{ packages.application | json }}
    - aggregate: True

application-built:
  release.built:
    - name: {{ pillar.app.release.directory | json }}
    - require:
        - pkg: application-packages
        - user: builder
