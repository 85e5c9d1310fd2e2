# Has GlusterFS read a renewed certificate, in the turn of the host, and changes nothing else. The timer of the
# certificates applies it (`takeover` of a certificate).
{%- from "gluster/current.jinja" import client, daemon with context %}
include:
  - common.turn
{%- if pillar.storage is defined %}

gluster-renewed:
  {{- daemon() }}
{%- endif %}
{%- if pillar.files is defined and pillar.files.servers %}

files-renewed:
  {{- client() }}
{%- endif %}
