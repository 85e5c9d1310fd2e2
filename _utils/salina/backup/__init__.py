"""pgBackRest: its configuration, its answers, and the necessary steps."""
