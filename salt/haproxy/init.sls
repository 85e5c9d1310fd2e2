# HAProxy, one per host. What it does is in fragments under /etc/haproxy/conf.d: this component has
# the global one; each other has `check_cmd: /usr/local/sbin/haproxy-check NAME`, requires
# `file: haproxy-global`, and is in `require_in: service: haproxy-service`.
include:
  - haproxy.configuration
  - haproxy.service
