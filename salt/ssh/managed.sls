# The settings are in a file that sshd reads before all others. An operator's own files keep their effect for
# everything else, such as the port or the users that may log in.
{%- set file = '/etc/ssh/sshd_config.d/00-salina.conf' %}
{%- set operators = pillar.operators is defined %}
{%- set alone = operators and pillar.operators.outside %}
include:
  - common.packages

ssh-check:
  file.managed:
    - name: /usr/local/sbin/sshd-check
    - source: salt://ssh/files/sshd-check
    - mode: '0755'
    - require:
        - sls: common.packages

ssh-open:
  sshd.open_to_somebody:
    - name: {{ ('/etc/ssh/sshd_config.d/00-operators.conf' if alone else file) | json }}
    - operators: {{ (pillar.operators.accounts | length if operators else 0) | json }}
    - alone: {{ alone | json }}
    - onlyif: test -x /usr/sbin/sshd
    - require:
        - sls: common.packages

ssh-settings:
  file.managed:
    - name: {{ file | json }}
    - source: salt://ssh/files/sshd.conf
    - makedirs: True
    - mode: '0644'
    - check_cmd: /usr/local/sbin/sshd-check
    - require:
        - file: ssh-check
        - sshd: ssh-open

# A reload ends no session.
ssh-current:
  daemon.current:
    - name: ssh
    - files: {{ ([file] + (['/etc/ssh/sshd_config.d/00-operators.conf', '/etc/salina/ssh/host_key'] if operators else [])) | json }}
    - require:
        - file: ssh-settings

ssh-in-force:
  sshd.in_force:
    - name: {{ file | json }}
    - port: {{ pillar.ssh.port | json }}
    - require:
        - daemon: ssh-current
