# The restart that a change needs comes after this run: a job can't outlive its own minion.
minion-config:
  file.managed:
    - name: /etc/salt/minion.d/salina.conf
    - source: salt://common/files/minion.conf
    - mode: '0644'

minion-restart:
  cmd.run:
    - name: >-
        systemd-run --collect --unit=salina-minion-restart
        sh -c "timeout 1h tail --pid=$PPID -f /dev/null; systemctl restart salt-minion"
    - order: last
    - onchanges:
        - file: minion-config
