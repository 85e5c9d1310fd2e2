# Copies the users' files that this host has to the backup host, with restic, by a timer.
{%- from "packages.jinja" import packages with context %}
include:
  - tls

files-backup-packages:
  pkg.installed:
    - pkgs: {{ packages.files_backup | json }}
    - aggregate: True

files-backup-program:
  file.managed:
    - name: /usr/local/lib/salina-files/salina/backup/files.py
    - source: salt://_utils/salina/backup/files.py
    - makedirs: True
    - mode: '0644'

files-backup-settings:
  file.managed:
    - name: /etc/salina/files-backup.json
    - source: salt://files_backup/files/files-backup.json
    - template: jinja
    - mode: '0600'
    - show_changes: False
    - require:
        - sls: tls

files-backup-units:
  file.managed:
    - names:
        - /etc/systemd/system/salina-files.service:
            - source: salt://files_backup/files/salina-files.service
            - context: {action: due, about: if one is due}
        - /etc/systemd/system/salina-files@.service:
            - source: salt://files_backup/files/salina-files.service
            - context: {action: now %i, about: '%i, now'}
        - /etc/systemd/system/salina-files.timer:
            - source: salt://files_backup/files/salina-files.timer
    - template: jinja
    - mode: '0644'

files-backup-units-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: files-backup-units

files-backup-timer:
  daemon.running:
    - name: salina-files.timer
    - require:
        - pkg: files-backup-packages
        - file: files-backup-program
        - file: files-backup-settings
        - module: files-backup-units-loaded
