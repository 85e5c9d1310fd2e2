# The operators' accounts, their shell, which records each session, and their rights. Only in a fleet with a
# management host.
include:
  - common.packages
  - operators.groups
  - ssh.operators
{%- if pillar.operators.salt %}
  - operators.salt
{%- endif %}

operators-shell:
  file.managed:
    - names:
{%- for program in ['session.py', 'recorder.py'] %}
        - /usr/local/lib/salina-operators/{{ program }}:
            - source: salt://_utils/salina/management/{{ program }}
{%- endfor %}
    - makedirs: True
    - mode: '0755'

operators-units:
  file.managed:
    - names:
{%- for unit in ['salina-session@.socket', 'salina-session@.service'] %}
        - /etc/systemd/system/{{ unit }}:
            - source: salt://operators/files/{{ unit }}
{%- endfor %}
    - mode: '0644'

operators-units-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: operators-units

operators-sudo:
  file.managed:
    - name: /etc/sudoers.d/salina
    - source: salt://operators/files/sudoers
    - template: jinja
    - mode: '0440'
    - check_cmd: /usr/sbin/visudo -cf
    - require:
        - sls: common.packages

operators-accounts:
  operators.settled:
    - accounts: {{ pillar.operators.accounts | json }}
    - require:
        - file: operators-shell
        - file: operators-sudo
        - module: operators-units-loaded
        - sls: operators.groups
        - sls: ssh.operators
{%- for one in pillar.operators.accounts %}

# It belongs to the account, so it comes after it. A name that somebody else has keeps no other operator out.
operators-{{ one.name }}-recorded:
  daemon.running:
    - name: salina-session@{{ one.name }}.socket
    - require:
        - module: operators-units-loaded

operators-{{ one.name }}-current:
  daemon.current:
    - name: salina-session@{{ one.name }}.socket
    - restart: True
    - files: [/etc/systemd/system/salina-session@.socket]
    - require:
        - daemon: operators-{{ one.name }}-recorded
{%- endfor %}
