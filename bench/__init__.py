"""What `make bench` measures: docs/performance.md says what and how, and explains the figures."""
