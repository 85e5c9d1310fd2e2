# Names without a name server: this host, the hosts that its roles talk to, and the master.
hosts-file:
  file.managed:
    - name: /etc/hosts
    - source: salt://common/files/hosts
    - template: jinja
    - mode: '0644'
