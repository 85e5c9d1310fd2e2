# PostgreSQL from Debian, and Patroni from PyPI in its own environment.
include:
  - common.builder
  - postgresql

patroni-environment:
  python_environment.installed:
    - name: /opt/patroni
    - interpreter: python3
    - requirements: salt://locks/patroni.txt
    - require:
        - user: builder
        - sls: postgresql

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
