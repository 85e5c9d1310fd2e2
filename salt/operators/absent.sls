# In a fleet without a management host nobody is an operator. The accounts stay, expired, because files belong to them.
{%- set units = ['salina-session.socket', 'salina-session@.service'] %}
operators-none:
  operators.settled:
    - accounts: []

operators-socket-stopped:
  service.dead:
    - name: {{ units[0] }}
    - enable: False
    - onlyif: # otherwise a prediction names a unit that there never was
        - fun: file.file_exists
          path: /etc/systemd/system/{{ units[0] }}

operators-absent:
  file.absent:
    - names:
        - /etc/ssh/sshd_config.d/00-operators.conf # before the key of the host that it names
        - /etc/salina/ssh
        - /etc/sudoers.d/salina
        - /etc/profile.d/salina-operators.sh
        - /etc/salina/operators.json
        - /usr/local/lib/salina-operators
{%- for unit in units %}
        - /etc/systemd/system/{{ unit }}
{%- endfor %}
    - require:
        - operators: operators-none
        - service: operators-socket-stopped

# sshd has its own keys again, which its package made.
operators-unloaded:
  cmd.run:
    - name: systemctl daemon-reload && systemctl try-reload-or-restart ssh
    - onchanges:
        - file: operators-absent
