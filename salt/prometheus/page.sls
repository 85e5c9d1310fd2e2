# The page with the graphs, and the way to Prometheus, behind the password of Nagios' page.
include:
  - monitoring.page
  - prometheus

graphs-files:
  file.managed:
    - names:
{%- for file in ['index.html', 'graphs.js', 'graphs.css'] %}
        - /usr/local/share/salina-graphs/{{ file }}:
            - source: salt://prometheus/files/{{ file }}
{%- endfor %}
        - /usr/local/share/salina-graphs/graphs.json:
            - contents: {{ pillar.prometheus.graphs | json | json }}
    - makedirs: True
    - mode: '0644'

# before nginx.conf, whose check reads it
graphs-nginx:
  file.managed:
    - name: /etc/nginx/monitoring.d/prometheus.conf
    - source: salt://prometheus/files/nginx.conf
    - template: jinja
    - makedirs: True
    - mode: '0644'
    - require:
        - sls: monitoring.program
    - require_in:
        - file: page-nginx

graphs-current:
  daemon.current:
    - name: nginx
    - files: [/etc/nginx/monitoring.d/prometheus.conf]
    - require:
        - file: graphs-files
        - daemon: page-nginx-service
        - daemon: prometheus-service
