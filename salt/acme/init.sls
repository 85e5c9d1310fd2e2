# Published certificates of an ACME directory. dehydrated asks the directory, as a user who can read nothing
# but the account's key and the request. `certificate.renew` starts it (salt/tls/renewal.sls), so an apply does
# not wait for the directory. HAProxy answers the directory's challenges (salt/balancer/files/edge.cfg).
{%- from "packages.jinja" import packages with context %}
include:
  - common.packages
  - haproxy
  - tls
{%- if pillar.tls.acme %}

acme-packages:
  pkg.installed:
    - pkgs: {{ packages.acme | json }}
    - aggregate: True
    - require:
        - pkg: common-packages

acme-user:
  user.present:
    - name: salina-acme
    - system: True
    - home: /nonexistent
    - createhome: False
    - shell: /usr/sbin/nologin

acme-directory:
  file.directory:
    - name: /etc/salina/acme
    - makedirs: True
    - mode: '0755'

acme-files:
  file.managed:
    - names:
        - /usr/local/sbin/salina-acme:
            - source: salt://acme/files/salina-acme
            - mode: '0755'
        - /etc/salina/acme/dehydrated.conf:
            - source: salt://acme/files/dehydrated.conf
            - template: jinja
        - /etc/systemd/system/salina-acme@.service:
            - source: salt://acme/files/salina-acme@.service
{%- if pillar.tls.acme.ca %}
        - /etc/salina/acme/ca.pem:
            - contents_pillar: tls:acme:ca
{%- endif %}
    - mode: '0644'
    - require:
        - pkg: acme-packages
        - user: acme-user
        - file: acme-directory

acme-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: acme-files

acme-account: # systemd reads it as root, for the unit alone
  file.managed:
    - name: /etc/salina/acme/account.key
    - contents_pillar: tls:acme:account_key
    - mode: '0600'
    - show_changes: False
    - require:
        - file: acme-directory

# Only now HAProxy answers the challenges. Nothing waits for the certificates, and if this does not happen,
# the timer asks for them within an hour.
acme-asked:
  module.run:
    - service.start:
        - name: salina-certificates.service
        - no_block: True
    - require:
        - daemon: haproxy-reloaded
        - module: acme-loaded
        - sls: tls
    - onchanges:
        - file: acme-files
        - file: acme-account
{%- for certificate in pillar.tls.certificates if certificate.acme %}
        - certificate: tls-{{ certificate.name }}
{%- endfor %}
{%- else %}

acme-absent:
  file.absent:
    - names:
        - /etc/salina/acme
        - /etc/systemd/system/salina-acme@.service

acme-forgotten: # a failed attempt would count as a fault of the host
  cmd.run:
    - name: systemctl daemon-reload && systemctl reset-failed 'salina-acme@*'
    - onchanges:
        - file: acme-absent
{%- endif %}
