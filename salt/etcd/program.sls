# etcd and its settings. It does not start by itself.
{%- from "packages.jinja" import packages with context %}

include:
  - common.packages

# Before the package, because its own first start must not create a cluster with one member.
etcd-unit:
  file.managed:
    - name: /etc/systemd/system/etcd.service.d/salina.conf
    - source: salt://etcd/files/unit.conf
    - makedirs: True

etcd-packages:
  pkg.installed:
    - pkgs: {{ packages.quorum | json }}
    - require:
        - file: etcd-unit

etcd-user:
  user.present:
    - name: etcd
    - groups: [ssl-cert]
    - remove_groups: False
    - require:
        - pkg: etcd-packages
        - pkg: common-packages

etcd-settings:
  file.managed:
    - name: /etc/default/etcd
    - source: salt://etcd/files/default.jinja
    - template: jinja
    - require:
        - pkg: etcd-packages
