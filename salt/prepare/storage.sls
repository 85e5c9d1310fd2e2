include:
  - gluster.daemon
