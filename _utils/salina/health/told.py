"""The answer of a host to the monitoring host: the results of all of its checks, as JSON.

systemd starts it for each question, as root, since the checks need that. It reads nothing that
comes from the network: there is one question, and stunnel decides who may ask it.

CLI: python3 -m salina.health.told FILE
FILE: the checks of the host, as its pillar has them (`host.checks`), as JSON
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from salina.health import probes

TURN = Path("/run/salina/drain")
"""The file of the turn that the host has (_modules/turn.py)."""
LEASE = 120.0
"""Seconds after which a turn has ended unless its holder renewed it."""


def turn() -> dict[str, Any] | None:
    """Return for how long the host has had its turn, and what restarts; None without a turn."""
    try:
        now, renewed = time.time(), TURN.stat().st_mtime
        given = json.loads(TURN.read_text())
        since = now - float(given.get("begun", renewed))
        what = ", ".join(given["turns"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return {"seconds": since, "what": what} if now - renewed < LEASE else None


def told(wanted: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the results of each check by its name, the time of this host's clock, and its turn.

    Args:
        wanted: the checks, each with its `name`, its `probe` and its `arguments`.
    """
    found = probes.each([(one["probe"], one["arguments"]) for one in wanted])
    names = [one["name"] for one in wanted]
    checks = dict(zip(names, found, strict=True))
    return {"checks": checks, "clock": time.time(), "turn": turn()}


if __name__ == "__main__":
    print(json.dumps(told(json.loads(Path(sys.argv[1]).read_text()))))
