"""The lab's hosts: containers, networks, images, and what each host is given."""
