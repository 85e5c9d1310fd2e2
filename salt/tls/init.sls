# This host's certificate. States of daemons that use it require `certificate: tls-certificate`.
include:
  - common.packages

tls-directory:
  file.directory:
    - name: /etc/salina/tls
    - makedirs: True
    - mode: '0755'

tls-ca:
  file.managed:
    - name: /etc/salina/tls/ca.crt
    - contents: {{ pillar.tls.ca | json }}
    - mode: '0644'
    - require:
        - file: tls-directory

tls-key:
  certificate.key_made:
    - name: /etc/salina/tls/host.key
    - group: {{ pillar.tls.group }}
    - require:
        - file: tls-directory
        - pkg: common-packages

tls-certificate:
  certificate.issued:
    - name: /etc/salina/tls/host.crt
    - key: /etc/salina/tls/host.key
    - ca: /etc/salina/tls/ca.crt
    - alt_names: {{ pillar.tls.names | json }}
    - days_remaining: {{ pillar.tls.renew_days }}
    - require:
        - file: tls-ca
        - certificate: tls-key
