"""The way of Salt's checks and one-time steps to the application's database.

It goes directly to the local HAProxy. The application's own way goes through pgbouncer, whose pool
the application can fill, and then only a state that is not stopped by this can free the pool.
docs/decisions/0025-a-repair-needs-nothing-that-it-repairs.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salina.database.psql import Session


def session(pillar: Mapping[str, Any], name: str) -> Session:
    """Return a session with the application's database, which entering the context opens.

    Args:
        pillar: this host's pillar, with `app` and `database_route`.
        name: the application_name on the server, which tells who holds a lock.
    """
    route = pillar["database_route"]
    own = {**pillar["app"]["database"], "host": route["name"], "port": route["listen"]}
    return Session(own, name, ca=route["ca"])
