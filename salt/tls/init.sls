# This host's certificates, one for each purpose. States of daemons that use one require `sls: tls`.
include:
  - common.packages
{%- if pillar.tls.certificates %}
  - tls.renewal
{%- endif %}

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
{%- for authority in pillar.tls.authorities %}

tls-{{ authority.name }}:
  file.managed:
    - name: /etc/salina/tls/{{ authority.name }}.crt
    - contents: {{ authority.certificate | json }}
    - mode: '0644'
    - require:
        - file: tls-directory
{%- endfor %}
{%- for certificate in pillar.tls.certificates %}
{%- if certificate.pair %}{# not as contents, which Salt keeps in its cache of the states #}

tls-{{ certificate.name }}:
  file.managed:
    - names:
        - /etc/salina/tls/{{ certificate.name }}.key:
            - contents_pillar: tls:certificates:{{ loop.index0 }}:pair:key
            - mode: '0600'
        - /etc/salina/tls/{{ certificate.name }}.crt:
            - contents_pillar: tls:certificates:{{ loop.index0 }}:pair:certificate
            - mode: '0644'
    - show_changes: False
    - require:
        - file: tls-directory
{%- else %}

tls-{{ certificate.name }}-key:
  certificate.key_made:
    - name: /etc/salina/tls/{{ certificate.name }}.key
    - group: {{ certificate.group | json }}
    - require:
        - file: tls-directory
        - pkg: common-packages

tls-{{ certificate.name }}:
  certificate.issued:
    - name: /etc/salina/tls/{{ certificate.name }}.crt
    - certificate: {{ certificate.name | json }}
    - require:
        - file: tls-{{ certificate.authority }}
        - certificate: tls-{{ certificate.name }}-key
{%- endif %}
{%- endfor %}
