"""The lab's cloud: it creates and removes hosts for the master's provisioner."""
