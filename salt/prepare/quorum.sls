include:
  - etcd.program
