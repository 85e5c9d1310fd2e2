# A host that is no longer the management host does not keep the keys of all hosts. Without Salina's own file beside it,
# /etc/ssh/ssh_known_hosts belongs to somebody else.
management-known-hosts-absent:
  file.absent:
    - name: /etc/ssh/ssh_known_hosts
    - onlyif:
        - fun: file.file_exists
          path: /etc/ssh/ssh_config.d/00-salina.conf

management-client-absent:
  file.absent:
    - name: /etc/ssh/ssh_config.d/00-salina.conf
    - require:
        - file: management-known-hosts-absent
