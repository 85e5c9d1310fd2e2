"""Ensure that only processes with CAP_NET_BIND_SERVICE can bind the ports of services."""

from __future__ import annotations

from typing import Any

from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def reserved(name: str, below: int) -> dict[str, Any]:
    """Ensure that the kernel reserves all ports below a number.

    A service that listens already, and could not listen again after a crash, is an error, and
    nothing is reserved.

    Args:
        name: free text.
        below: the first port that every process may bind.

    Returns:
        The state's result. It fails if a running service has no capability, or the kernel refuses.

    CLI Example:
        See salt/application/ports.sls.
    """
    old = __salt__["reserved_ports.first"]()
    if old == below:
        return state.result(name, True, f"the ports below {below} are reserved")
    changes = {"first free port": {"old": old, "new": below}}
    if __opts__["test"]:  # the states before this one would restart the services
        return state.result(name, None, f"the ports below {below} would be reserved", changes)
    found = __salt__["reserved_ports.obstacles"](below)
    if found:
        advice = (
            "give its unit AmbientCapabilities=CAP_NET_BIND_SERVICE, restart it and apply again"
        )
        return state.result(name, False, f"{'; '.join(found)}; {advice}")
    try:
        __salt__["reserved_ports.reserve"](below)
    except OSError as error:
        fault = f"the kernel does not reserve the ports below {below}: {error.strerror}"
        advice = f"net.ipv4.ip_local_port_range must begin at {below} or above"
        return state.result(name, False, f"{fault}; {advice}")
    return state.result(name, True, f"the ports below {below} were reserved", changes)
