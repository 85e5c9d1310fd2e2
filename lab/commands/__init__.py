"""What bin/lab does: one module for each group of commands."""
