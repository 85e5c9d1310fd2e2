"""The commands of bin/lab."""
