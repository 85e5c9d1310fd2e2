{%- from "packages.jinja" import packages with context %}
# age encrypts the copies of the master's state (salt-run backup.save_master).
master-packages:
  pkg.installed:
    - pkgs: {{ packages.master | json }}

# The directory of the master's state, outside the repository: secrets (salt-run secrets.create), active
# members, and the applications' commits.
state-directory:
  file.directory:
    - name: {{ pillar.master.state | json }}
    - mode: '0700'
