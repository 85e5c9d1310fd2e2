"""The GlusterFS volume: the answers of its commands, and the necessary steps."""
