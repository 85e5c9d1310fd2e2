# Without a second repository nothing is left that would go on with an earlier one.
second-timer-stopped:
  service.dead:
    - name: salina-second.timer
    - enable: False
    - onlyif: # otherwise a prediction names a unit that there never was
        - fun: file.file_exists
          path: /etc/systemd/system/salina-second.timer

second-absent:
  file.absent:
    - names:
{%- for unit in ['salina-second.timer', 'salina-second.service', 'salina-second-fetch.service'] %}
        - /etc/systemd/system/{{ unit }}
{%- endfor %}
        - /etc/salina/second-repository.json
        - /var/lib/salina-second/record.json
        - /var/lib/salina-second/compared.json
    - require:
        - service: second-timer-stopped

second-units-unloaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: second-absent
