"""A second application that joins the running fleet, and leaves it again after a module's tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests import fleets
from tests.lab import lab, tiers
from tests.lab.lab import shell, up
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
    release = json.loads(lab.salt_run("application.revisions").stdout)[name]["wanted"]
    assert lab.salt_run("application.forget", name, release).returncode == 0
    up()
    tiers.sql(tiers.leader(), f"DROP DATABASE {name} WITH (FORCE)")
    volume = fleets.topology(topology).applications[name].volume
    gluster = "gluster --mode=script volume"
    shell("nas1", f"{gluster} stop {volume} force; {gluster} delete {volume}")
    for host in tiers.STORAGE:
        shell(host, f"rm -r /nas-{volume}")
