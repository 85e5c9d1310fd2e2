"""What runs on a host to judge its health."""
