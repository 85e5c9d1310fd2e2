"""The turn of a host ends with the apply that took it, whichever part of the tree was applied."""

from __future__ import annotations

import pytest

from tests import fleets
from tests.render.minion import Minion

SALT = fleets.REPOSITORY / "salt"
TAKEN = ("- turn: ", "patroni.working:", "patroni.configured:")
"""The signs of a state that takes a turn."""
PARTS = sorted(
    {
        ".".join(path.relative_to(SALT).with_suffix("").parts).removesuffix(".init")
        for path in SALT.rglob("*.sls")
        if any(sign in path.read_text() for sign in TAKEN)
    }
)
HOSTS = {"patroni": "bbdd1", "etcd": "nas1", "gluster": "nas1", "pair": "lb1", "haproxy": "lb1"}
"""The hosts of the parts that an app host does not have, or that take no turn there."""
FLEETS = {"pair": "pairs", "haproxy": "pairs"}
"""The fleets of the parts that take no turn in the default one."""


def test_every_sign_is_found() -> None:
    """S12: The parts of both kinds of application, nginx, pgbouncer, PostgreSQL, etcd, GlusterFS
    and the two hosts of a pair take turns.
    """
    assert set(PARTS) >= {
        *(
            "node.service",
            "odoo.service",
            "nginx.service",
            "database_route.service",
            "patroni.service",
        ),
        *("etcd", "gluster.server", "haproxy.service", "pair.service"),
    }


@pytest.mark.parametrize("sls", [*PARTS, "application", "roles"])
@pytest.mark.parametrize("application", ["odoo-14.0", "sample-crm"])
def test_s12_an_apply_of_one_part_ends_its_turn(sls: str, application: str) -> None:
    """S12: A part whose states take a turn also ends it, as its last state.

    A requisite `sls: X` would wait for everything that X includes, also for the end of the turn.
    """
    kind = sls.partition(".")[0]
    if kind in ("node", "odoo") and not application.startswith({"node": "sample"}.get(kind, kind)):
        pytest.skip("a part of the other kind of application")
    host = HOSTS.get(kind, "s1")
    pillar = fleets.pillar(host, FLEETS.get(kind, "default"), application=application)
    minion = Minion(host, pillar)
    assert [chunk["__id__"] for chunk in minion.apply(sls)][-1] == "turn-ended"
