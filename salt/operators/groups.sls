# The groups of all operators and of those with root, and the user as whom the record of a session is written.
operators-groups:
  group.present:
    - names: [salina-operators, salina-all]
    - system: True

operators-record:
  user.present:
    - name: salina-record
    - system: True
    - usergroup: True
    - home: /nonexistent
    - createhome: False
    - shell: /usr/sbin/nologin
