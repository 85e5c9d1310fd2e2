# Debian's security updates. Each host installs them by itself, at a time of the day that no other host has.
# An update restarts nothing that serves (salt/common/files/policy-rc.d, and needrestart below). The next
# apply does, in the turn of the host.
{%- set updates = pillar.updates %}
include:
  - common.packages

updates-settings:
  file.managed:
    - name: /etc/apt/apt.conf.d/51salina
    - source: salt://updates/files/apt.conf
    - template: jinja
    - mode: '0644'

# needrestart may come with the image, or later: then it finds this file.
updates-restart-nothing:
  file.managed:
    - name: /etc/needrestart/conf.d/salina.conf
    - source: salt://updates/files/needrestart.conf
    - makedirs: True
    - mode: '0644'
{%- if updates.enabled %}

updates-times:
  file.managed:
    - names:
{%- for timer, time in {'apt-daily': updates.download, 'apt-daily-upgrade': updates.install}.items() %}
        - /etc/systemd/system/{{ timer }}.timer.d/salina.conf:
            - context: {time: '{{ time }}'}
{%- endfor %}
    - source: salt://updates/files/timer.conf
    - template: jinja
    - makedirs: True
    - mode: '0644'

# The host's health looks at the stamps that apt writes (the probe `updated`).
updates-stamps:
  file.managed:
    - names:
        - /etc/salina/apt-fetch.conf:
            - source: salt://updates/files/fetch.conf
        - /etc/systemd/system/apt-daily.service.d/salina.conf:
            - source: salt://updates/files/service.conf
    - makedirs: True
    - mode: '0644'

# systemd calculates the timers' next times again.
updates-times-loaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: updates-times
        - file: updates-stamps
{% for timer in ['apt-daily', 'apt-daily-upgrade'] %}
updates-{{ timer }}:
  daemon.running:
    - name: {{ timer }}.timer
    - unmask: True
    - require:
        - pkg: common-packages
        - file: updates-settings
        - module: updates-times-loaded
{% endfor %}
{%- endif %}

# Debian's own services. Those of this project restart in their components, in turns. Packages of any
# state may bring a newer library, so this comes after them.
updates-restarted:
  daemon.all_upgraded:
    - order: last
    - services: {{ updates.restarted | json }}
