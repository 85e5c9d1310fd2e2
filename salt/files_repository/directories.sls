# The repositories belong to a user of their own, and so do the password and the login.
{%- set files = pillar.files_repository %}
include:
  - common.packages
  - backup.parents

files-repository-user:
  user.present:
    - name: restic
    - system: True
    - usergroup: True
    - groups: [ssl-cert]
    - home: {{ files.directory | json }}
    - createhome: False
    - shell: /usr/sbin/nologin
    - require:
        - sls: common.packages

files-repository-directory:
  file.directory:
    - name: {{ files.directory | json }}
    - user: restic
    - group: restic
    - mode: '0700'
    - require:
        - user: files-repository-user
        - sls: backup.parents

files-repository-settings:
  file.directory:
    - name: /etc/salina/files-repository
    - group: restic
    - mode: '0750'
    - makedirs: True
    - require:
        - user: files-repository-user

files-repository-secrets:
  file.managed:
    - names:
        - /etc/salina/files-repository/password:
            - contents_pillar: files_repository:password
        - /etc/salina/files-repository/login:
            - source: salt://files_repository/files/login
            - template: jinja
    - group: restic
    - mode: '0640'
    - show_changes: False
    - require:
        - file: files-repository-settings
