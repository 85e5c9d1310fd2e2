# One HAProxy per host. Its configuration is a folder of fragments, /etc/haproxy/conf.d. This
# component owns the global fragment. Every other fragment sets
# `check_cmd: /usr/local/sbin/haproxy-check NAME`, requires `file: haproxy-global`, and has
# `require_in: daemon: haproxy-service`.
include:
  - haproxy.configuration
  - haproxy.service
