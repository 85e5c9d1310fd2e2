"""The master's and the lab's own Python: the model of the fleet and all that follows from it."""
