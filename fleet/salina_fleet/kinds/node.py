"""A Node.js application: dependencies by npm, configured by its environment."""

from __future__ import annotations

from salina_fleet.kind import Kind


class Node(Kind):
    """A Node.js application from a git checkout."""

    name = "node"
