# The repository on the backup host: its directories, the units that make backups, the first backup.
{%- set backup = pillar.backup %}
include:
  - pgbackrest
  - pgbackrest.scratch
  - backup.parents

backup-repository:
  file.directory:
    - name: {{ backup.repository | json }}
    - user: postgres
    - group: postgres
    - mode: '0750'
    - require:
        - sls: postgresql
        - sls: backup.parents

backup-directories:
  file.directory:
    - names:
        - {{ (backup.repository ~ '/archive') | json }}
        - {{ (backup.repository ~ '/backup') | json }}
    - user: postgres
    - group: postgres
    - mode: '0750'
    - require:
        - file: backup-repository
    - require_in:
        - daemon: pgbackrest-service

# The copies of the master's own state.
backup-master:
  file.directory:
    - name: {{ backup.master_copies | json }}
    - mode: '0700'
    - require:
        - sls: backup.parents

backup-scratch:
  file.managed:
    - name: {{ pillar.scratch.configuration | json }}
    - source: salt://backup/files/pgbackrest-scratch.conf.jinja
    - template: jinja
    - group: postgres
    - mode: '0640'
    - show_changes: False
    - require:
        - sls: postgresql

backup-units:
  file.managed:
    - names:
        - /etc/systemd/system/salina-backup@.service:
            - source: salt://backup/files/salina-backup@.service
        - /etc/systemd/system/salina-backup@full.timer:
            - context: {days: [{{ backup.full | json }}]}
        - /etc/systemd/system/salina-backup@diff.timer:
            - context: {days: {{ backup.others | json }}}
    - source: salt://backup/files/salina-backup.timer
    - template: jinja

backup-units-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: backup-units

backup-timers:
  daemon.running:
    - names: [salina-backup@full.timer, salina-backup@diff.timer]
    - require:
        - module: backup-units-loaded

backup-stanza:
  pgbackrest.stanza:
    - name: {{ backup.stanza | json }}
    - wait: {{ backup.wait | json }}
    - require:
        - daemon: pgbackrest-current
        - file: backup-directories

backup-first:
  pgbackrest.backed_up:
    - require:
        - pgbackrest: backup-stanza
        - module: backup-units-loaded
