"""Show what this host can show of the requirements."""

from __future__ import annotations

import importlib
from typing import Any

from salina.health import probes
from salina.verify import evidence, seen, service

__opts__: dict[str, Any]
__pillar__: dict[str, Any]


def look(wanted: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return what was seen on this host. This changes nothing.

    Args:
        wanted: for each host a list of looks: `row`, `look` (a function of _utils/salina/verify)
            and `arguments`.

    Returns:
        For each thing `row`, `what`, whether it is `good`, and what was `seen`.

    CLI Example:
        salt s1 verify.look '{"s1": [{"row": "X9", "look": "sshd", "arguments": {}}]}'
    """
    # a job inherits what its minion has imported, maybe before an update
    for module in (probes, seen, service, evidence):
        importlib.reload(module)
    # Salt's own mapping is empty in the threads that look
    return evidence.gather(wanted[__opts__["id"]], dict(__pillar__))
