# The minion itself. Of its jobs it keeps account in files; one that a power cut ended would seem to
# run as soon as another process has its number, and keep later ones from running: a boot removes them.
minion-jobs:
  file.managed:
    - name: /etc/tmpfiles.d/salina-minion.conf
    - contents: r! /var/cache/salt/minion/proc/*
    - mode: '0644'

minion-config:
  file.managed:
    - name: /etc/salt/minion.d/salina.conf
    - source: salt://common/files/minion.conf
    - mode: '0644'

minion-current:
  daemon.current_afterwards:
    - name: salt-minion
    - files: [/etc/salt/minion.d/salina.conf]
    - unit: salina-minion-restart
    - order: last
    - require:
        - file: minion-config
