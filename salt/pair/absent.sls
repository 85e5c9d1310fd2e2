# A host that shares no address. Nothing is left that would take them away. The package stays.
pair-stopped:
  service.dead:
    - name: keepalived
    - enable: False
    - onlyif: # otherwise a prediction names a unit that there never was
        - fun: file.file_exists
          path: /etc/systemd/system/keepalived.service.d/salina.conf

pair-absent:
  file.absent:
    - names:
        - /etc/systemd/system/keepalived.service.d/salina.conf
        - /etc/keepalived/keepalived.conf
        - /etc/keepalived/salina-serves
        - /etc/keepalived/salina-lease
        - /etc/sysctl.d/60-salina-pair.conf
    - require:
        - service: pair-stopped

pair-unloaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
        - file: pair-absent
