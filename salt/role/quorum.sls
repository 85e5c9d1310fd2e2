# A vote in the quorum that elects the primary database.
include:
  - etcd
