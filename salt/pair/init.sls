# The addresses that this host shares with another one (decision 67): keepalived gives them to the one that serves.
include:
  - pair.configuration
  - pair.service
