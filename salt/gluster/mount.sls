# The shared directory of the app hosts: the volume, or a plain directory in a fleet without storage.
{%- set files = pillar.files %}
include:
  - gluster.client

{%- if not files.servers %}

files-directory:
  file.directory:
    - name: {{ files.mount }}

{%- else %}

{%- set unit = files.mount[1:] | replace('-', '\\x2d') | replace('/', '-') ~ '.mount' %}

# At boot the storage hosts may come up after this host, and systemd tries a mount only once. So a unit
# waits for the volume with a bound, and another one tries the mount again when it failed.
files-mountable-script:
  file.managed:
    - name: /usr/local/sbin/gluster-mountable
    - source: salt://gluster/files/gluster-mountable
    - template: jinja
    - mode: '0755'
{% for file, source in [
    ('gluster-mountable.service', 'gluster-mountable.service'),
    ('gluster-mount-again.service', 'gluster-mount-again.service'),
    (unit ~ '.d/salina.conf', 'mount.conf'),
] %}
files-{{ source }}:
  file.managed:
    - name: {{ ('/etc/systemd/system/' ~ file) | json }}
    - source: salt://gluster/files/{{ source }}
    - template: jinja
    - mode: '0644'
    - makedirs: True
{% endfor %}
files-fstab:
  mount.fstab_present:
    - name: {{ files.servers[0] }}:/{{ files.volume }}
    - fs_file: {{ files.mount }}
    - fs_vfstype: glusterfs
    - fs_mntops:
        - _netdev
        - nofail
        - x-systemd.requires=gluster-mountable.service
        {%- for option in files.options %}
        - {{ option }}
        {%- endfor %}
    - match_on: name
    - mount: False

files-mounted:
  gluster.mounted:
    - name: {{ files.mount }}
    - volume: {{ files.volume }}
    - servers: {{ files.servers | json }}
    - wait: {{ files.wait }}
    - require:
        - pkg: files-packages
        - file: files-mountable-script
        - file: files-gluster-mountable.service
        - file: files-gluster-mount-again.service
        - file: files-mount.conf
        - mount: files-fstab
{%- endif %}
