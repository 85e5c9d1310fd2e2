# The packages, the units, and the programs that Nagios starts. nullmailer is the mail server that Nagios' packages
# want, and php-cgi is the smallest of the PHPs; neither listens.
{%- from "packages.jinja" import packages with context %}
include:
  - common.packages

monitoring-unit:
  file.managed:
    - names:
{%- for unit in ['nagios4.service', 'nullmailer.service'] %}
        - /etc/systemd/system/{{ unit }}:
            - source: salt://monitoring/files/{{ unit }}
{%- endfor %}
    - mode: '0644'
    - require:
        - sls: common.packages

monitoring-unit-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: monitoring-unit

# Without aggregate, as every state that needs a file before it: the first package of such an installation
# takes the others along.
monitoring-packages:
  pkg.installed:
    - pkgs: {{ packages.monitoring | json }}
    - require:
        - file: monitoring-unit

monitoring-program:
  file.managed:
    - names:
{%- for file in ['plugin.py', 'mail.py'] %}
        - /usr/local/lib/salina-monitoring/{{ file }}:
            - source: salt://_utils/salina/monitoring/{{ file }}
{%- endfor %}
        - /usr/local/sbin/salina-nagios-check:
            - source: salt://monitoring/files/nagios-check
            - mode: '0755'
    - makedirs: True
    - mode: '0644'
