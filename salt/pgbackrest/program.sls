# pgBackRest from Debian. Its server does not start before it is configured.
{%- from "packages.jinja" import packages with context %}
include:
  - common.packages
  - postgresql

pgbackrest-unit:
  file.managed:
    - name: /etc/systemd/system/pgbackrest.service
    - source: salt://pgbackrest/files/pgbackrest.service
    - template: jinja
    - require:
        - sls: common.packages

pgbackrest-packages:
  pkg.installed:
    - pkgs: {{ packages.backup | json }}
    - require:
        - file: pgbackrest-unit
        - sls: postgresql
