"""What minions are served: one package for each component, as in salt/."""
