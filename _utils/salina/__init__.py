"""The Python that minions receive: one package for each component, as in salt/."""
