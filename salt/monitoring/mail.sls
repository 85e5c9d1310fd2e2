# The way of the mails: msmtp gives each to the mail server. Only Nagios' own user reads the login, and not the
# programs of the web page, which are in its group.
{%- set mail = pillar.monitoring %}
include:
  - monitoring.program

mail-settings:
  file.managed:
    - name: /etc/nagios4/msmtprc
    - source: salt://monitoring/files/msmtprc
    - template: jinja
    - group: nagios
    - mode: '0640'
    - require:
        - sls: monitoring.program
{%- if mail.relay_password %}

mail-password:
  file.managed:
    - name: /etc/nagios4/relay
    - contents_pillar: monitoring:relay_password
    - user: nagios
    - mode: '0400'
    - show_changes: False
    - require:
        - sls: monitoring.program
{%- else %}

mail-no-password:
  file.absent:
    - name: /etc/nagios4/relay
{%- endif %}
