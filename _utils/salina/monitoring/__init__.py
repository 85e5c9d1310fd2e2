"""The checks with which a host judges its health."""
