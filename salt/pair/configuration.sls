# The package, keepalived's configuration with the programs that it runs, and its unit.
{%- from "packages.jinja" import packages with context %}

pair-packages:
  pkg.installed:
    - pkgs: {{ packages.pair | json }}
    - aggregate: True

# keepalived runs only a program that nobody but root can replace, and none from /usr/local.
{%- for program in ['serves', 'lease'] %}
pair-{{ program }}:
  file.managed:
    - name: /etc/keepalived/salina-{{ program }}
    - source: salt://pair/files/{{ program }}
    - template: jinja
    - mode: '0755'
    - require:
        - pkg: pair-packages
    - require_in:
        - file: pair-configuration
{%- endfor %}

pair-configuration:
  file.managed:
    - name: /etc/keepalived/keepalived.conf
    - source: salt://pair/files/keepalived.conf
    - template: jinja
    - mode: '0644'
    - check_cmd: /usr/sbin/keepalived --config-test --use-file

pair-unit:
  file.managed:
    - name: /etc/systemd/system/keepalived.service.d/salina.conf
    - source: salt://pair/files/unit.conf
    - template: jinja
    - makedirs: True
    - mode: '0644'
    - require:
        - file: pair-configuration
