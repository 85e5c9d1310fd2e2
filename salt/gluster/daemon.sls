# The part of a storage host that needs no other host: its bricks and its daemon.
{%- from "packages.jinja" import packages with context %}
{%- set storage = pillar.storage %}
include:
  - gluster.tls

gluster-brick-directory:
  file.directory:
    - names: {{ storage.volumes | map(attribute='brick') | list | json }}
    - makedirs: True
    - user: root
    - group: root
    - mode: '0755'

# Before glusterd starts, so that a host with an unusable directory never offers itself to the pool.
gluster-brick:
  gluster.brick:
    - names:
{%- for volume in storage.volumes %}
        - {{ (storage.name ~ ':' ~ volume.brick) | json }}:
            - volume: {{ volume.name | json }}
{%- endfor %}
    - require:
        - file: gluster-brick-directory

gluster-packages:
  pkg.installed:
    - pkgs: {{ packages.storage | json }}

# `gluster-current` restarts glusterd for a change of this file, in the turn of the host, because Debian's
# unit stops the bricks with it.
gluster-settings:
  file.managed:
    - name: /etc/glusterfs/glusterd.vol
    - source: salt://gluster/files/glusterd.vol
    - template: jinja
    - require:
        - pkg: gluster-packages

gluster-daemon:
  daemon.running:
    - name: glusterd
    - require:
        - file: gluster-settings
        - gluster: gluster-brick
        - gluster: gluster-secured
