"""A deployment of Debian 13, for all tests of this folder."""
