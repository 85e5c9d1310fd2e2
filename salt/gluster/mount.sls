# The shared directory of the app hosts: the volume, or a plain directory in a fleet without storage.
{%- set files = pillar.files %}
include:
  - gluster.client

{%- if not files.servers %}

files-directory:
  file.directory:
    - name: {{ files.mount | json }}
    - makedirs: True

{%- else %}
  - gluster.mountable
  - gluster.tls

files-fstab:
  mount.fstab_present:
    - name: {{ (files.servers[0] ~ ':/' ~ files.volume) | json }}
    - fs_file: {{ files.mount | json }}
    - fs_vfstype: glusterfs
    - fs_mntops:
        - _netdev
        - nofail
        - x-systemd.requires=gluster-mountable.service
        {%- for option in files.options %}
        - {{ option | json }}
        {%- endfor %}
    - match_on: name
    - mount: False

files-mounted:
  gluster.mounted:
    - name: {{ files.mount | json }}
    - volume: {{ files.volume | json }}
    - servers: {{ files.servers | json }}
    - wait: {{ files.wait | json }}
    - require:
        - pkg: files-packages
        - file: files-units
        - mount: files-fstab
        - gluster: gluster-secured
{%- endif %}
