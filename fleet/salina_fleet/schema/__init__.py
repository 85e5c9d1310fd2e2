"""The declarations of data files, and the faults of a file that does not fit."""
