"""The lab's hosts: their containers, networks, image and files."""
