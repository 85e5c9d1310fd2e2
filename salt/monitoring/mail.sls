# The settings of nullmailer, which keeps each mail until the mail server takes it. Only Nagios' own user reads the
# login, and not the programs of the web page, which are in its group.
{%- set mail = pillar.monitoring %}
include:
  - monitoring.program

mail-directories:
  file.directory:
    - names:
        - /etc/nagios4/mail
        - /var/lib/nagios4/mail
    - user: nagios
    - mode: '0700'
    - require:
        - sls: monitoring.program

mail-queue:
  file.directory:
    - names:
{%- for name in ['queue', 'tmp', 'failed'] %}
        - /var/lib/nagios4/mail/{{ name }}
{%- endfor %}
    - user: nagios
    - mode: '0700'
    - require:
        - file: mail-directories

# It tries again after one minute, then after two, and at least every five. The server may ask who greets it, and wants
# a whole name.
mail-settings:
  file.managed:
    - names:
{%- for name, value in {'helohost': mail.sender.split('@') | last, 'maxpause': 300, 'sendtimeout': 60}.items() %}
        - /etc/nagios4/mail/{{ name }}:
            - contents: {{ value | string | json }}
{%- endfor %}
        - /etc/nagios4/mail/remotes:
            - source: salt://monitoring/files/remotes
            - template: jinja
    - user: nagios
    - mode: '0400'
    - show_changes: False
    - require:
        - file: mail-queue

# msmtp, which had no queue, needed these.
mail-former:
  file.absent:
    - names: [/etc/nagios4/msmtprc, /etc/nagios4/relay]
