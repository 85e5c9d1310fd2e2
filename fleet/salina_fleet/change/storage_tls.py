"""The steps that move the files of a running fleet to TLS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from salina_fleet.change.step import apply, run

WHAT = "the files move to TLS, and the applications stop meanwhile"


def told(storage: Sequence[str], apps: Sequence[str]) -> dict[str, Any]:
    """Return the move as people read it and as salt/orch/change.jinja does it.

    Args:
        storage: the storage hosts; none if the files use TLS already.
        apps: the hosts that mount a volume.
    """
    if not storage:
        return {"what": "the files use TLS already", "steps": []}
    hosts = list(dict.fromkeys([*storage, *apps]))

    return {
        "what": WHAT,
        "steps": [
            run("every storage host and app host answers", "fleet.ready", hosts=hosts),
            run("each has its certificate, and the volumes are whole", "storage.tls_ready"),
            run("the applications stop", "storage.tls_stop", hosts=list(apps)),
            run("GlusterFS restarts with TLS", "storage.tls_switch"),
            apply("the applications start", hosts),
            run("each serves", "fleet.probe", hosts=list(apps)),
        ],
    }
