"""Change a running fleet: scaling, joining and autoscaling, one change at a time."""
