"""A second application that joins the running fleet, and leaves it again after a module's tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests import fleets
from tests.lab import lab, tiers
from tests.lab.lab import up
from tests.lab.traffic import Traffic, wait_for


@contextmanager
def application(name: str, topology: str) -> Iterator[list[str]]:
    """Deploy a topology with a second application while the first one serves.

    A lab that stays afterwards is the first one's again, and has nothing of the second one.

    Args:
        name: the second application.
        topology: a file of tests/topologies.

    Yields:
        What failed for the first one's users meanwhile.
    """
    with Traffic() as traffic:
        wait_for([traffic], 60)
        up("--topology", str(fleets.OTHERS[topology]))
        wait_for([traffic], 60)
        traffic.end()
    yield traffic.failed()
    if lab.OWN:
        return
    up()
    if name in tiers.sql(tiers.leader(), "SELECT datname FROM pg_database").split():
        assert remove(application=name, confirm=name)[0] == 0


def remove(**pillar: str) -> tuple[int, str]:
    """Run orch.remove, and return its exit code and what it said."""
    given = f"pillar={json.dumps(pillar)}"
    done = lab.execute(lab.master(), "salt-run", "state.orchestrate", "orch.remove", given)
    return done.returncode, done.stdout + done.stderr
