"""The records of a host's last apply, and of what another one would change."""
