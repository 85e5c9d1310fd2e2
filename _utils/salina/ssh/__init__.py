"""sshd, on the hosts where it is installed."""
