"""HAProxy: its runtime socket, and weights that follow the load."""
