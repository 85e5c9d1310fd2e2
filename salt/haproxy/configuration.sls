# The package, the folder of fragments with the global fragment, and the unit.
{%- from "packages.jinja" import packages with context %}

haproxy-packages:
  pkg.installed:
    - pkgs: {{ packages.haproxy | json }}
    - aggregate: True

haproxy-conf.d:
  file.directory:
    - name: /etc/haproxy/conf.d
    - mode: '0755'
    - require:
        - pkg: haproxy-packages
{% for script in ['haproxy-check', 'haproxy-save-state', 'haproxy-reload'] %}
{{ script }}-script:
  file.managed:
    - name: /usr/local/sbin/{{ script }}
    - source: salt://haproxy/files/{{ script }}
    - mode: '0755'
    - require_in:
        - file: haproxy-global
{% endfor %}
haproxy-global:
  file.managed:
    - name: /etc/haproxy/conf.d/00-global.cfg
    - source: salt://haproxy/files/00-global.cfg
    - mode: '0644'
    - check_cmd: /usr/local/sbin/haproxy-check 00-global.cfg
    - require:
        - file: haproxy-conf.d

haproxy-metrics:
  file.managed:
    - name: /etc/haproxy/conf.d/05-metrics.cfg
    - source: salt://haproxy/files/05-metrics.cfg
    - mode: '0644'
    - check_cmd: /usr/local/sbin/haproxy-check 05-metrics.cfg
    - require:
        - file: haproxy-global

haproxy-default:
  file.managed:
    - name: /etc/default/haproxy
    - contents: |
        # Managed by Salt (salt/haproxy).
        CONFIG=/etc/haproxy/conf.d
    - mode: '0644'
    - require:
        - file: haproxy-metrics

# With this unit, a drain or a weight that was set at run time survives a reload.
haproxy-unit:
  file.managed:
    - name: /etc/systemd/system/haproxy.service.d/salina.conf
    - source: salt://haproxy/files/unit.conf
    - makedirs: True
    - mode: '0644'
    - require:
        - file: haproxy-global
