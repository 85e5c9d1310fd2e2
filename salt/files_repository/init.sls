# The copies of users' files on the backup host: restic's repositories, and the server that takes new copies
# and deletes none.
{%- from "packages.jinja" import packages with context %}
{%- set files = pillar.files_repository %}
include:
  - tls
  - common.packages
  - files_repository.directories
  - files_repository.forget

files-repository-packages:
  pkg.installed:
    - pkgs: {{ packages.files_repository | json }}
    - aggregate: True

files-repository-unit:
  file.managed:
    - name: /etc/systemd/system/salina-files-repository.service
    - source: salt://files_repository/files/salina-files-repository.service
    - template: jinja
    - mode: '0644'
{%- for source in files.sources %}

files-repository-{{ source.name }}:
  cmd.run:
    - name: restic init --repository-version 2 --repo {{ files.directory }}/{{ source.name }}
    - creates: {{ (files.directory ~ '/' ~ source.name ~ '/config') | json }}
    - runas: restic
    - env:
        - RESTIC_PASSWORD_FILE: /etc/salina/files-repository/password
    - require:
        - pkg: files-repository-packages
        - sls: files_repository.directories
    - require_in:
        - daemon: files-repository-service
{%- endfor %}

files-repository-service:
  daemon.running:
    - name: salina-files-repository
    - require:
        - file: files-repository-unit
        - pkg: files-repository-packages
        - sls: tls

files-repository-current:
  daemon.current:
    - name: salina-files-repository
    - restart: True
    - files:
        - /etc/systemd/system/salina-files-repository.service
        - /etc/salina/files-repository/login
        - /etc/salina/tls/ca.crt
        - /etc/salina/tls/backup.crt
        - /etc/salina/tls/backup.key
    - require:
        - daemon: files-repository-service
