# The program of the second repository, and its units.
second-program:
  file.managed:
    - name: /usr/local/lib/salina-files/salina/backup/second.py
    - source: salt://_utils/salina/backup/second.py
    - makedirs: True
    - mode: '0644'

second-units:
  file.managed:
    - names:
        - /etc/systemd/system/salina-second.service:
            - source: salt://second_repository/files/salina-second.service
            - context:
                action: mirror
                about: Bring the second repository up to date
                reason: It reads the repositories, and writes only their marks.
                capabilities: CAP_DAC_OVERRIDE
        - /etc/systemd/system/salina-second-fetch.service:
            - source: salt://second_repository/files/salina-second.service
            - context:
                action: fetch
                about: Bring the backups back from the second repository
                reason: It gives the files to the users who own the repositories.
                capabilities: CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER
        - /etc/systemd/system/salina-second.timer:
            - source: salt://second_repository/files/salina-second.timer
    - template: jinja
    - mode: '0644'

second-units-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: second-units
