# nginx caches static files under the name of the release, which it learns when the release is active.
# The rest of its configuration does not wait for the steps before that, which may need other hosts.
include:
  - common.turn
  - application.production
  - nginx

nginx-release:
  file.managed:
    - name: /etc/nginx/release.map
    - source: salt://nginx/files/release.map
    - template: jinja
    - mode: '0644'
    - require:
        - pkg: nginx-packages
        - release: application-production

nginx-release-current:
  daemon.current:
    - name: nginx
    - turn: app
    - files: [/etc/nginx/release.map]
    - require:
        - daemon: nginx-current
        - file: nginx-release
