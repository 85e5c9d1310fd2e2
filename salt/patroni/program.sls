# PostgreSQL from Debian, without a cluster of its own; Patroni from PyPI in its own environment.
{%- import_yaml "packages.yaml" as packages %}

# Before the packages: they must not found a cluster.
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

patroni-lock:
  file.managed:
    - name: /opt/patroni/lock.txt
    - source: salt://locks/patroni.txt
    - makedirs: True

# installed.txt is written last: an installation that was interrupted is done again.
patroni-environment:
  cmd.run:
    - name: >-
        python3 -m venv /opt/patroni &&
        /opt/patroni/bin/pip install --quiet --no-deps -r /opt/patroni/lock.txt &&
        cp /opt/patroni/lock.txt /opt/patroni/installed.txt
    - unless: cmp --silent /opt/patroni/lock.txt /opt/patroni/installed.txt
    - require:
        - pkg: patroni-packages
        - file: patroni-lock

patroni-check:
  file.managed:
    - name: /usr/local/sbin/patroni-check
    - source: salt://patroni/files/check
    - mode: '0755'

patroni-unit:
  file.managed:
    - name: /etc/systemd/system/patroni.service
    - source: salt://patroni/files/patroni.service
