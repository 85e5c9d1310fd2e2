# A copy of the shared files.
include:
  - gluster.server
