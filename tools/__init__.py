"""Tools for the repository itself: what `make docs` runs."""
