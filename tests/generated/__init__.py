"""Generated topologies, settings and definitions, and the judges of what follows from them."""
