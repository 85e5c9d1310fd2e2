# sshd, where somebody has installed it. The firewall keeps its port closed everywhere, except for the master.
{%- if pillar.ssh.managed and salt['file.file_exists']('/usr/sbin/sshd') %}
include:
  - ssh.managed
{%- endif %}
