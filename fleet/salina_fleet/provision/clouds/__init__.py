"""Clouds: the networks, rules and ports of a fleet for OpenTofu, and the commands for its hosts.

OpenTofu gets everything that lasts, from `salt-run cloud.tofu`. It never makes a host, because it
would keep the user data in its state, and with it the private key of a minion. `bin/cloud` makes
and removes hosts, with the cloud's own command line (servers.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from salina_fleet.fleet import Fleet
from salina_fleet.provision.clouds import aws, google, openstack, plan
from salina_fleet.provision.clouds.plan import Plan


class Cloud(NamedTuple):
    """A cloud: `faults` yields why a plan cannot be there; `resources` returns it for OpenTofu."""

    faults: Callable[[Plan], Iterator[str]]
    resources: Callable[[Plan], dict[str, Any]]


CLOUDS: Mapping[str, Cloud] = {
    "aws": Cloud(aws.faults, aws.resources),
    "google": Cloud(google.faults, google.resources),
    "openstack": Cloud(openstack.faults, openstack.resources),
}
"""The clouds by their names."""


def faults(cloud: str, fleet: Fleet) -> list[str]:
    """Return why a fleet cannot be in a cloud: all reasons, each as `path: message`."""
    found = list(plan.faults(fleet))
    return found or list(CLOUDS[cloud].faults(plan.make(fleet)))


def tofu(cloud: str, fleet: Fleet) -> dict[str, Any]:
    """Return a fleet without faults as the content of a file `*.tf.json`."""
    return CLOUDS[cloud].resources(plan.make(fleet))
