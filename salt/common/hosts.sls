# Names without a name server: this host, the hosts that its roles talk to, and the master. The second
# copy belongs to Salt alone: a boot restores /etc/hosts from it.
{%- for place in ['/etc/salina/hosts', '/etc/hosts'] %}
{{ ('hosts-file' if place == '/etc/hosts' else 'hosts-copy') | json }}:
  file.managed:
    - name: {{ place | json }}
    - source: salt://common/files/hosts
    - template: jinja
    - mode: '0644'
    - makedirs: True
{% endfor %}
hosts-unit:
  file.managed:
    - name: /etc/systemd/system/salina-hosts.service
    - source: salt://common/files/salina-hosts.service
    - mode: '0644'

hosts-restored-at-boot:
  daemon.at_boot:
    - name: salina-hosts
    - require:
        - file: hosts-unit
        - file: hosts-copy
