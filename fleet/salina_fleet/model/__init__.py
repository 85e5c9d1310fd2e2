"""The operator's data files as typed objects: topology, settings, applications, members."""
