# The directory of the master's state, outside the repository: secrets (salt-run secrets.create), active
# members, and the applications' commits.
state-directory:
  file.directory:
    - name: {{ pillar.master.state }}
    - mode: '0700'
