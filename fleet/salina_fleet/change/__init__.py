"""Changes of a running fleet: scaling, joining, autoscaling, and the lock that they take."""
