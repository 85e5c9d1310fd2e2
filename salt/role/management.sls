# The host through which operators reach the others. Every host has their accounts (salt/operators).
include:
  - management
