# The unit of a scratch cluster, which restores and drills start and remove (_modules/scratch.py).
include:
  - postgresql
  - tls

scratch-files:
  file.managed:
    - names:
        - /etc/systemd/system/salina-scratch.service:
            - source: salt://pgbackrest/files/salina-scratch.service
        - /etc/salina/scratch.conf:
            - source: salt://pgbackrest/files/scratch.conf
    - template: jinja
    - require:
        - sls: postgresql
        - sls: tls
