# The operators' `salt` and `salt-run` on the master. Both are a program of root's that judges the whole command.
operators-commands:
  file.managed:
    - name: /etc/salina/operators.json
    - contents: {{ pillar.operators.salt | json | json }}
    - makedirs: True
    - mode: '0600'

operators-judge:
  file.managed:
    - name: /usr/local/lib/salina-operators/command.py
    - source: salt://_utils/salina/management/command.py
    - makedirs: True
    - mode: '0755'
    - require:
        - file: operators-commands

operators-programs:
  file.managed:
    - names:
        - /usr/local/lib/salina-operators/bin/salt
        - /usr/local/lib/salina-operators/bin/salt-run
    - source: salt://operators/files/salt
    - makedirs: True
    - mode: '0755'
    - require:
        - file: operators-judge

operators-path:
  file.managed:
    - name: /etc/profile.d/salina-operators.sh
    - source: salt://operators/files/profile.sh
    - mode: '0644'
