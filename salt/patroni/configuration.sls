include:
  - patroni.program

patroni-directory:
  file.directory:
    - name: /etc/patroni
    - user: root
    - group: postgres
    - mode: '0750'
    - require:
        - sls: postgresql

patroni-settings:
  file.managed:
    - name: /etc/patroni/patroni.yml
    - source: salt://patroni/files/patroni.yml.jinja
    - template: jinja
    - user: root
    - group: postgres
    - mode: '0640'
    - show_changes: False
    - check_cmd: /usr/local/sbin/patroni-check
    - require:
        - file: patroni-directory
        - sls: patroni.program
