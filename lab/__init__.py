"""The whole fleet on one machine: hosts, network, mirrors and the commands on them."""
