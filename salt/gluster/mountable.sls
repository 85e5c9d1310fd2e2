# The programs around the mount. At boot the storage hosts may come up after this host, and systemd tries a
# mount only once. So a unit waits for the volume with a bound. Another one mounts it again after the
# mount failed, or after its client died.
files-programs:
  file.managed:
    - names:
{%- for program in ['gluster-mountable', 'gluster-mount-again'] %}
        - /usr/local/sbin/{{ program }}:
            - source: salt://gluster/files/{{ program }}
{%- endfor %}
    - template: jinja
    - mode: '0755'

files-units:
  file.managed:
    - names:
{%- for unit in ['gluster-mountable.service', 'gluster-mount-again.service', 'gluster-mount-again.timer'] %}
        - /etc/systemd/system/{{ unit }}:
            - source: salt://gluster/files/{{ unit }}
{%- endfor %}
    - template: jinja
    - mode: '0644'
    - require:
        - file: files-programs

files-units-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: files-units

files-mount-again:
  daemon.running:
    - name: gluster-mount-again.timer
    - require:
        - module: files-units-loaded
