include:
  - node.dependencies
