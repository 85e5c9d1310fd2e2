"""The way of Salt's checks and one-time steps to the application's database.

It goes directly to the local HAProxy. The application's own way goes through pgbouncer, whose pool
the application can fill, and then only a state that is not stopped by this can free the pool.
docs/decisions/0025-a-repair-needs-nothing-that-it-repairs.md has the reasons.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from salina.database.psql import SAFE, Session, literal

MARKS = "salina_once"
"""The table in the application's database that records which steps are done, where and when."""


def session(
    pillar: Mapping[str, Any], name: str, database: str = "", record: bool = False
) -> Session:
    """Return a session with the application's database, which entering the context opens.

    Args:
        pillar: this host's pillar, with `app` and `database_route`.
        name: the application_name on the server, which tells who holds a lock.
        database: the name of another database that belongs to the application.
        record: whether it logs in as the role that records the release (salina.database.records).
            The application owns the database, so this session trusts none of its settings.
    """
    route = pillar["database_route"]
    own = {**pillar["app"]["database"], "host": route["name"], "port": route["listen"]}
    own["name"] = database or own["name"]
    if record:
        return Session({**own, **pillar["app"]["record"]}, name, ca=route["ca"], options=SAFE)
    return Session(own, name, ca=route["ca"])


def mark(opened: Session, step: str) -> None:
    """Record in the application's database that this host has done a one-time step.

    Args:
        opened: a session with the database.
        step: the step's name.
    """
    opened.query(
        f"CREATE TABLE IF NOT EXISTS {MARKS} (step text PRIMARY KEY, "
        "host text NOT NULL, finished timestamptz(0) NOT NULL DEFAULT now())"
    )
    opened.query(
        f"INSERT INTO {MARKS} (step, host) "
        f"VALUES ({literal(step)}, {literal(platform.node())}) "
        "ON CONFLICT (step) DO UPDATE SET host = excluded.host, finished = now()"
    )
