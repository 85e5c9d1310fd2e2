# sshd, where somebody has installed it, and on every host of a fleet with a management host. The firewall keeps its
# port closed everywhere, except for the master and the management host.
{%- if pillar.operators is defined %}
include:
  - ssh.managed
  - ssh.operators
  - operators
{%- else %}
include:
  - operators.absent
{%- if pillar.ssh.managed and salt['file.file_exists']('/usr/sbin/sshd') %}
  - ssh.managed
{%- endif %}
{%- endif %}
