# The host's clock. chrony replaces systemd-timesyncd, because both packages provide Debian's `time-daemon`.
{%- if pillar.time.managed %}
include:
  - common.packages

chrony-settings:
  file.managed:
    - name: /etc/chrony/chrony.conf
    - source: salt://chrony/files/chrony.conf
    - template: jinja
    - mode: '0644'
    - check_cmd: /usr/sbin/chronyd -p -f
    - require:
        - pkg: common-packages

chrony-at-boot:
  daemon.at_boot:
    - name: chrony
    - require:
        - file: chrony-settings

chrony-runs:
  clock.kept:
    - name: chrony
    - require:
        - daemon: chrony-at-boot

# Nobody notices a restart: the clock goes on, and chrony remembers how fast it is.
chrony-current:
  daemon.current:
    - name: chrony
    - files: [/etc/chrony/chrony.conf]
    - restart: True
    - require:
        - clock: chrony-runs
{%- endif %}
