# In a fleet without a management host nobody is an operator. The accounts stay, expired, because files belong to them.
{%- set units = ['salina-session@.socket', 'salina-session@.service'] %}
operators-none:
  operators.settled:
    - accounts: []

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

# sshd has its own keys again, which its package made.
operators-unloaded:
  cmd.run:
    - name: systemctl daemon-reload && systemctl try-reload-or-restart ssh
    - onchanges:
        - file: operators-absent
