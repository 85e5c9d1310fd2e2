"""Check, show and draw the topology (pillar/topology.yaml)."""

from __future__ import annotations

from typing import Any

from salina_fleet import policy, runner, site
from salina_fleet.errors import RunnerError
from salina_fleet.fleet import Fleet
from salina_fleet.map import mermaid, svg
from salina_fleet.schema import document

__opts__: dict[str, Any]


def check(path: str | None = None) -> str:
    """Check the topology, or another file, with the settings, the members and the applications.

    Args:
        path: another topology file on the master. It is checked as if it were the fleet's.

    Returns:
        A sentence that says that it is good. In a fleet without a firewall host a second one names
        `topology.router`.

    Raises:
        RunnerError: with every fault.

    CLI Example:
        salt-run topology.check
        salt-run topology.check /root/next-topology.yaml
    """
    if path is None:
        return _good(site.TOPOLOGY, runner.site(__opts__).fleet)
    own = __opts__["salina"]
    try:
        planned = site.planned(own["root"], own["state"], path)
    except document.DataError as error:
        raise RunnerError(str(error)) from None  # the message says it all
    return _good(path, planned.fleet)


def _good(path: str, fleet: Fleet) -> str:
    found = f"{path} is good: {len(fleet.hosts)} hosts"
    if policy.routed(fleet):
        found += "; no host has role firewall, so a router must filter: salt-run topology.router"
    return found


def show() -> dict[str, Any]:
    """Show the current fleet.

    Returns:
        The `service`, the `applications`, and the `hosts` with their roles and addresses.

    CLI Example:
        salt-run topology.show
    """
    fleet = runner.site(__opts__).fleet
    written = fleet.topology.to_dict()
    hosts = {
        host.id: {
            "roles": list(host.roles),
            "addresses": dict(host.addresses),
            **({"application": host.application} if host.application else {}),
        }
        for host in fleet.hosts.values()
    }
    return {key: written[key] for key in ("service", "applications")} | {"hosts": hosts}


def map(format: str = "mermaid") -> str:
    """Draw the fleet.

    Args:
        format: `mermaid` for Mermaid's text, or `svg` for a picture.

    Returns:
        The drawing.

    Raises:
        RunnerError: another format.

    CLI Example:
        salt-run topology.map
        salt-run topology.map format=svg --out=raw
    """
    drawings = {"mermaid": mermaid.draw, "svg": svg.draw}
    if format not in drawings:
        # not SaltInvocationError: that is a TypeError, after which a runner's exit code is 0
        raise RunnerError(f"format: {format!r} is unknown; choose one of: {', '.join(drawings)}")
    return drawings[format](runner.site(__opts__).fleet)


def table() -> str:
    """Return which role may open which port of which other role.

    Returns:
        A Markdown table, as in docs/ports.md.

    Raises:
        RunnerError: with every fault of the topology and its companions.

    CLI Example:
        salt-run topology.table --out=raw
    """
    return policy.markdown(runner.site(__opts__).fleet)


def router() -> str:
    """Return what a router or a cloud in front of the fleet must pass, and nothing else.

    With a firewall host the same must reach this host.

    Returns:
        Two Markdown tables: from outside to the hosts, and from the hosts to the outside.

    Raises:
        RunnerError: with every fault of the topology and its companions.

    CLI Example:
        salt-run topology.router --out=raw
    """
    return policy.router(runner.site(__opts__).fleet)


def tiers() -> list[dict[str, Any]]:
    """Return the fleet's hosts in the order of a deployment, each host once.

    Returns:
        A list of {name, hosts}.

    CLI Example:
        salt-run topology.tiers
    """
    return [{"name": name, "hosts": hosts} for name, hosts in runner.site(__opts__).fleet.tiers()]
