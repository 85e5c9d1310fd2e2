# A mirror of all backups at another place, and the way back from there onto a new backup host. The units run the
# same Python as the module (_utils/salina/backup/second.py).
{%- from "packages.jinja" import packages with context %}
include:
  - backup
  - files_repository
  - files_repository.directories
  - second_repository.units

second-packages:
  pkg.installed:
    - pkgs: {{ packages.second_repository | json }}

second-settings:
  file.managed:
    - name: /etc/salina/second-repository.json
    - source: salt://second_repository/files/second-repository.json
    - template: jinja
    - makedirs: True
    - mode: '0600'
    - show_changes: False

# Before a repository is created: an empty one would take the place of the good mirror.
second-fetched:
  second_repository.fetched:
    - require:
        - pkg: second-packages
        - file: second-settings
        - file: backup-master
        - file: backup-directories
        - sls: files_repository.directories
        - sls: second_repository.units
    - require_in:
        - pgbackrest: backup-stanza
        - sls: files_repository

second-timer:
  daemon.running:
    - name: salina-second.timer
    - require:
        - second_repository: second-fetched
        - pgbackrest: backup-stanza
