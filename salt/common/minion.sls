# The minion itself. It records each running job in a file with the job's process id. After a power
# cut a reused process id makes a dead job look alive, which would block later jobs. So a boot
# removes the job files.
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
