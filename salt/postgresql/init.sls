# PostgreSQL from Debian, without Debian's own cluster.
{%- from "packages.jinja" import packages with context %}

# Before the packages, because they must not create a cluster.
postgresql-no-stray-cluster:
  file.managed:
    - name: /etc/postgresql-common/createcluster.d/salina.conf
    - contents: create_main_cluster = false
    - makedirs: True

postgresql-packages:
  pkg.installed:
    - pkgs: {{ packages.database | json }}
    - require:
        - file: postgresql-no-stray-cluster

postgresql-user:
  user.present:
    - name: postgres
    - groups: [ssl-cert]
    - remove_groups: False
    - require:
        - pkg: postgresql-packages
