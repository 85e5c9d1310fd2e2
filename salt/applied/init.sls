# The record of each apply, and the timer that predicts another one. Only the top file names this, so an apply of
# single files is not recorded as one of the host.
{%- set drift = pillar.drift %}
{%- if drift.enabled %}
drift-units:
  file.managed:
    - names:
{%- for unit in ['salina-drift.service', 'salina-drift.timer'] %}
        - /etc/systemd/system/{{ unit }}:
            - source: salt://applied/files/{{ unit }}
{%- endfor %}
    - template: jinja
    - mode: '0644'

drift-units-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: drift-units

drift-timer:
  daemon.running:
    - name: salina-drift.timer
    - require:
        - module: drift-units-loaded
{%- else %}
drift-timer-stopped:
  service.dead:
    - name: salina-drift.timer
    - enable: False
    - onlyif: # otherwise a prediction names a unit that there never was
        - fun: file.file_exists
          path: /etc/systemd/system/salina-drift.timer

drift-units-absent:
  file.absent:
    - names:
        - /etc/systemd/system/salina-drift.timer
        - /etc/systemd/system/salina-drift.service
    - require:
        - service: drift-timer-stopped
{%- endif %}

applied-recorded:
  verdict.recorded:
    - order: last
