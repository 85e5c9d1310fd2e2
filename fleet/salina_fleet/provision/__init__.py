"""Making and removing hosts."""
