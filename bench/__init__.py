"""The measurements of `make bench`. docs/performance.md explains them and their results."""
