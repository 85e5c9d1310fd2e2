# sshd in a fleet with a management host: the host's own key, which the master knows, and what operators may do.
{%- set file = '/etc/ssh/sshd_config.d/00-operators.conf' %}
include:
  - ssh.managed
  - operators.groups

# sshd reads the operators' keys as the operator.
ssh-directories:
  file.directory:
    - name: /etc/salina/ssh/keys
    - makedirs: True
    - mode: '0755'

ssh-host-key:
  file.managed:
    - name: /etc/salina/ssh/host_key
    - contents_pillar: operators:host_key
    - mode: '0600'
    - show_changes: False
    - require:
        - file: ssh-directories

ssh-operators:
  file.managed:
    - name: {{ file | json }}
    - source: salt://ssh/files/operators.conf
    - template: jinja
    - makedirs: True
    - mode: '0644'
    - check_cmd: /usr/local/sbin/sshd-check
    - require:
        - file: ssh-check
        - file: ssh-host-key
        - sshd: ssh-open
        - sls: operators.groups
    - require_in:
        - file: ssh-settings

# The environment of a session begins the same for everybody: otherwise a file of the operator's own would be read
# before the session is recorded.
ssh-environment:
  file.replace:
    - name: /etc/pam.d/sshd
    - pattern: user_readenv=1
    - repl: user_readenv=0
    - onlyif: test -e /etc/pam.d/sshd
    - require:
        - sls: common.packages

ssh-operators-in-force:
  sshd.in_force:
    - name: {{ file | json }}
    - port: {{ pillar.ssh.port | json }}
    - require:
        - daemon: ssh-current
