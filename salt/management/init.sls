# The management host: it finds every host by name, and knows each host's key.
management-known-hosts:
  file.managed:
    - name: /etc/ssh/ssh_known_hosts
    - contents: {{ pillar.management.known_hosts | json }}
    - makedirs: True
    - mode: '0644'

management-client:
  file.managed:
    - name: /etc/ssh/ssh_config.d/00-salina.conf
    - source: salt://management/files/ssh.conf
    - makedirs: True
    - mode: '0644'
