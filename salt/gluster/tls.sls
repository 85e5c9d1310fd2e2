# Whether GlusterFS uses TLS on this host, and the certificate by which it knows the host. Its processes read
# the files for each connection, so nothing restarts for a renewed certificate.
{%- set place = pillar.host.platform.gluster_certificates %}
{%- if pillar.storage is defined %}
{%- set wanted, hosts, wait = pillar.storage.tls, pillar.storage.peers, 0 %}
{%- else %}
{%- set wanted, hosts, wait = pillar.files.tls, pillar.files.servers, pillar.files.wait %}
{%- endif %}
include:
  - common.hosts
  - tls
{%- if wanted %}

gluster-certificate:
  file.symlink:
    - names:
        - {{ place }}/glusterfs.pem:
            - target: /etc/salina/tls/files.crt
        - {{ place }}/glusterfs.key:
            - target: /etc/salina/tls/files.key
        - {{ place }}/glusterfs.ca:
            - target: /etc/salina/tls/files-ca.crt
    - makedirs: True
    - require:
        - sls: tls
{%- endif %}

gluster-secured:
  gluster.secured:
    - name: {{ pillar.host.id | json }}
    - hosts: {{ hosts | json }}
    - wanted: {{ wanted | json }}
    - wait: {{ wait | json }}
    - require:
        - file: hosts-file
{%- if wanted %}
        - file: gluster-certificate
{%- endif %}
