"""The lab's local mirror: Debian packages, wheels, npm packages and git repositories."""
