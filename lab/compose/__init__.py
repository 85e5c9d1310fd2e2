"""The same scenario as a Docker Compose file: `make compose`."""
