# Staging comes from upstream, production from staging: what was tried is what production gets.
# Both belong to root: the service can't change its own code.
{%- import_yaml "packages.yaml" as packages %}
{%- set app = pillar.app %}
{%- set source = app.definition.source %}

application-packages:
  pkg.installed:
    - pkgs: {{ packages.application | json }}
    - aggregate: True

application-staging:
  application.checked_out:
    - name: /opt/{{ app.kind }}/staging
    - repository: {{ source.repository | json }}
    - revision: {{ source.revision | json }}
    - require:
        - pkg: application-packages

application-production:
  application.checked_out:
    - name: /opt/{{ app.kind }}/production
    - repository: /opt/{{ app.kind }}/staging
    - revision: {{ source.revision | json }}
    - require:
        - application: application-staging
