"""The GlusterFS volume: what its commands say, and what is to be done."""
