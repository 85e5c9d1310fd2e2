# nginx caches static files under the commit of production, so it learns the commit when the release is active.
# The rest of its configuration does not wait for the steps before that, which may need other hosts.
include:
  - common.turn
  - application.production
  - nginx

nginx-commit:
  file.managed:
    - name: /etc/nginx/commit.map
    - source: salt://nginx/files/commit.map
    - template: jinja
    - mode: '0644'
    - require:
        - pkg: nginx-packages
        - release: application-production

nginx-commit-current:
  daemon.current:
    - name: nginx
    - turn: app
    - files: [/etc/nginx/commit.map]
    - require:
        - daemon: nginx-current
        - file: nginx-commit
