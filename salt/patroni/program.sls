# PostgreSQL from Debian without Debian's own cluster, and Patroni from PyPI in its own environment.
{%- import_yaml "packages.yaml" as packages %}
include:
  - common.builder

# Before the packages, because they must not create a cluster.
patroni-no-stray-cluster:
  file.managed:
    - name: /etc/postgresql-common/createcluster.d/salina.conf
    - contents: create_main_cluster = false
    - makedirs: True

patroni-packages:
  pkg.installed:
    - pkgs: {{ packages.database | json }}
    - require:
        - file: patroni-no-stray-cluster

patroni-user:
  user.present:
    - name: postgres
    - groups: [ssl-cert]
    - remove_groups: False
    - require:
        - pkg: patroni-packages

patroni-environment:
  python_environment.installed:
    - name: /opt/patroni
    - interpreter: python3
    - requirements: salt://locks/patroni.txt
    - require:
        - user: builder
        - pkg: patroni-packages

patroni-check:
  file.managed:
    - name: /usr/local/sbin/patroni-check
    - source: salt://patroni/files/check
    - mode: '0755'

patroni-initdb:
  file.managed:
    - name: /usr/local/sbin/patroni-initdb
    - source: salt://patroni/files/initdb
    - mode: '0755'

patroni-unit:
  file.managed:
    - name: /etc/systemd/system/patroni.service
    - source: salt://patroni/files/patroni.service
