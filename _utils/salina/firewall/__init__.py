"""ufw: its rules as it lists them, and as they are to be."""
