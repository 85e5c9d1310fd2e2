# A vote in the quorum that elects the primary database host.
include:
  - etcd
