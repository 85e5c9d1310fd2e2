"""Fleets that differ from the default one, each deployed in the lab: `make proof` only."""
