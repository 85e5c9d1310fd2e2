"""The steps of a change, as salt/orch/change.jinja does them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def run(name: str, function: str, **arguments: Any) -> dict[str, Any]:
    """Return a step that calls a function of a runner.

    Args:
        name: the step in words. No other step of the change has the same name.
        function: the function.
        arguments: its arguments. None may be called `name`, which salt.runner takes for its own.
    """
    return {"name": name, "runner": function, "arguments": arguments}


def apply(name: str, hosts: Sequence[str], sls: str = "") -> dict[str, Any]:
    """Return a step that applies states on hosts.

    Args:
        name: the step in words. No other step of the change has the same name.
        hosts: ids.
        sls: the states; all of the host's by default.
    """
    return {"name": name, "hosts": list(hosts), **({"sls": sls} if sls else {})}
