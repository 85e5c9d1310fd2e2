# The master has recorded the commit, so it is the same on all hosts.
# Staging comes from upstream and production from staging, so production gets exactly what was tried.
# Both belong to root, so the service cannot change its own code.
{%- import_yaml "packages.yaml" as packages %}
{%- set app = pillar.app %}
{%- set source = app.definition.source %}

application-packages:
  pkg.installed:
    - pkgs: {{ packages.application | json }}
    - aggregate: True

application-staging:
  checkout.present:
    - name: /opt/{{ app.kind }}/staging
    - repository: {{ source.repository | json }}
    - revision: {{ source.commit | json }}
    - require:
        - pkg: application-packages

application-production:
  checkout.present:
    - name: /opt/{{ app.kind }}/production
    - repository: /opt/{{ app.kind }}/staging
    - revision: {{ source.commit | json }}
    - require:
        - checkout: application-staging
