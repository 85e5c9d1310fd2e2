"""What a data file may contain, and the faults of one that contains something else."""
