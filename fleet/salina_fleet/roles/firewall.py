"""The edge firewall: it passes pings and what anybody may open on to its host, nothing else.

A fleet may have none: the clients are in the balancer's own network, or a router that is not a host
of the fleet filters (`salina_fleet.policy.router`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from salina_fleet.role import Check, Role

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.topology import Host


class Firewall(Role):
    """The host between the clients and the service."""

    name = "firewall"
    order = 20
    tier = 2
    column = 1
    links = ("clients", "edge")
    count = ((0, 1), "at most one host may have it")
    forwards = True
    row = "S7"

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """The kernel forwards packets of the service's protocol, unless the service is here."""
        # it reads ROLES, of which this file is a part
        from salina_fleet import policy

        if not policy.forwards(fleet, host):
            return []
        ipv6 = ":" in fleet.topology.service.address
        return [Check("forwarding", {"ipv4": not ipv6, "ipv6": ipv6}, decides=True)]
