"""What only the master and the lab need: the model of the fleet and all that follows from it."""
