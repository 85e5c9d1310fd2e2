# pgBackRest at both ends: the backup host fetches the cluster's files from database hosts, and these send
# their WAL. The server of each end knows the other by its certificate.
include:
  - tls
  - postgresql
  - pgbackrest.program

pgbackrest-settings:
  file.managed:
    - name: /etc/pgbackrest.conf
    - source: salt://pgbackrest/files/pgbackrest.conf.jinja
    - template: jinja
    - group: postgres
    - mode: '0640'
    - show_changes: False
    - require:
        - pkg: pgbackrest-packages
        - sls: postgresql

pgbackrest-service:
  daemon.running:
    - name: pgbackrest
    - require:
        - file: pgbackrest-settings
        - sls: tls

pgbackrest-current:
  daemon.current:
    - name: pgbackrest
    - restart: True
    - files:
        - /etc/systemd/system/pgbackrest.service
        - /etc/pgbackrest.conf
        - /etc/salina/tls/ca.crt
        - /etc/salina/tls/backup.crt
        - /etc/salina/tls/backup.key
    - require:
        - daemon: pgbackrest-service
