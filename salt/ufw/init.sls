# This host's firewall: closed, except for the rules of pillar `ufw`. They come from one table of who
# talks to whom (fleet/salina_fleet/policy.py). Policies and rules are in place before ufw is enabled.
{%- set files = {
    '/etc/ufw/sysctl.conf': {'source': 'sysctl.conf', 'mode': '0644'},
    '/etc/ufw/before.rules': {'source': 'before.rules', 'mode': '0640', 'check': 'iptables-restore'},
    '/etc/ufw/before6.rules': {'source': 'before6.rules', 'mode': '0640', 'check': 'ip6tables-restore'},
    '/etc/default/ufw': {'source': 'default', 'mode': '0644'},
} %}

include:
  - common.packages
{% for path, file in files.items() %}
{{ path | json }}:
  file.managed:
    - source: salt://ufw/files/{{ file.source }}
    - template: jinja
    - mode: '{{ file.mode }}'
    {%- if file.check is defined %}
    - check_cmd: {{ (file.check ~ ' --noflush --test') | json }}
    {%- endif %}
    - require:
        - pkg: common-packages
    {%- if file.source == 'default' %}
        # A boot after a killed apply loads this policy: the rules that it needs are there then.
        - ufw: ufw-rules
        - file: /etc/ufw/before.rules
        - file: /etc/ufw/before6.rules
    {%- endif %}
    - require_in:
        - ufw: ufw-enabled
{% endfor %}
ufw-rules:
  ufw.rules:
    - rules: {{ pillar.ufw.rules | json }}
    - routes: {{ pillar.ufw.routes | json }}
    - outgoing: {{ pillar.ufw.outgoing | json }}
    - require:
        - pkg: common-packages

ufw-enabled:
  ufw.enabled:
    - forward: {{ pillar.ufw.forward | json }}
    - logging: '{{ pillar.ufw.settings.logging }}'
    - require:
        - ufw: ufw-rules

# The service loads the firewall at boot.
ufw-service:
  daemon.at_boot:
    - name: ufw
    - require:
        - ufw: ufw-enabled

# After that a boot looks whether the host is closed, and closes it if ufw did not.
ufw-closed-program:
  file.managed:
    - name: /usr/local/sbin/salina-closed
    - source: salt://ufw/files/closed
    - mode: '0755'

ufw-closed-unit:
  file.managed:
    - name: /etc/systemd/system/salina-closed.service
    - source: salt://ufw/files/salina-closed.service
    - mode: '0644'

ufw-closed-at-boot:
  daemon.at_boot:
    - name: salina-closed
    - require:
        - file: ufw-closed-program
        - file: ufw-closed-unit
