# Deletes the copies that are too old, once a day. Only this host can.
include:
  - files_repository.directories

files-forget-program:
  file.managed:
    - names:
{%- for file in ['files.py', 'forget.py'] %}
        - /usr/local/lib/salina-files/salina/backup/{{ file }}:
            - source: salt://_utils/salina/backup/{{ file }}
{%- endfor %}
    - makedirs: True
    - mode: '0644'

files-forget-units:
  file.managed:
    - names:
{%- for unit in ['salina-files-forget.service', 'salina-files-forget.timer'] %}
        - /etc/systemd/system/{{ unit }}:
            - source: salt://files_repository/files/{{ unit }}
{%- endfor %}
    - template: jinja
    - mode: '0644'

files-forget-units-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: files-forget-units

files-forget-timer:
  daemon.running:
    - name: salina-files-forget.timer
    - require:
        - file: files-forget-program
        - module: files-forget-units-loaded
        - sls: files_repository.directories
