"""The lab's cloud, which makes and removes hosts for the master's provisioner."""
