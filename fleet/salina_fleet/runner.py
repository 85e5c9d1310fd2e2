"""The common part of this project's runners: the master's view, with errors as Salt shows them."""

from __future__ import annotations

import os
from typing import Any

from salt.exceptions import CommandExecutionError

from salina_fleet import policy
from salina_fleet.change import scale
from salina_fleet.model import members
from salina_fleet.schema.document import DataError, show
from salina_fleet.site import Site, read

LAST_CHANGE = "last-change.json"
"""The file in the master's state directory that describes the last complete change."""


def site(opts: dict[str, Any]) -> Site:
    """Return everything that the master decides from, as its configuration says (`salina:`).

    Raises:
        CommandExecutionError: some file has a fault; the runner then ends with exit code 1.
    """
    configured = opts.get("salina")
    if not configured:
        raise CommandExecutionError("the master's configuration has no `salina: {root, state}`")
    try:
        return read(configured["root"], configured["state"])
    except DataError as error:
        raise CommandExecutionError(str(error)) from None  # the message says it all


def unfinished(site: Site) -> dict[str, list[str]]:
    """Return the hosts of each pool that a change has begun with and not finished.

    Raises:
        CommandExecutionError: the file of the unfinished hosts is damaged.
    """
    file = site.state / members.UNFINISHED
    try:
        return members.unfinished(file, site.fleet.topology)
    except members.MembersError as error:
        raise CommandExecutionError(str(error)) from None  # the message says it all


def plan(site: Site, request: dict[str, Any]) -> scale.Change:
    """Return the change that a request for a pool needs.

    Args:
        site: the master's view.
        request: a runner's arguments, with those that Salt adds.

    Raises:
        CommandExecutionError: the request is invalid, with every fault.
    """
    topology, begun = site.fleet.topology, unfinished(site)
    try:
        wanted = scale.parse(plain(request), topology)
        return scale.plan(wanted, topology, site.fleet.members, begun[wanted.pool])
    except scale.RequestError as error:
        raise CommandExecutionError(str(error)) from None  # the message says it all


def told(site: Site, change: scale.Change) -> dict[str, Any]:
    """Return a change with its steps and the hosts that follow it, as `scale.told` describes."""
    balancers = [host.id for host in site.fleet.having("balancer")]
    beside = policy.neighbours(site.fleet, site.fleet.topology.pools[change.pool].roles)
    still = {*change.touched, *balancers}
    return scale.told(change, [host for host in beside if host not in still], balancers)


def plain(request: dict[str, Any]) -> dict[str, Any]:
    """Return a runner's arguments without those that Salt adds."""
    return {key: value for key, value in request.items() if not key.startswith("__")}


def provisioner(opts: dict[str, Any]) -> list[str] | None:
    """Return the command that makes and removes hosts, or None when the operator does.

    The master's configuration names it, because it belongs to that machine: `salina:
    {provisioner}`. It is called with `create ID` and user data on standard input, or with `destroy
    ID`. A repeated call must succeed.

    Raises:
        CommandExecutionError: the command cannot be called.
    """
    path = opts.get("salina", {}).get("provisioner")
    if path is None:
        return None
    if not isinstance(path, str) or not os.path.isabs(path):
        found = "is not valid; must be the absolute path of an executable"
    elif not os.path.isfile(path) or not os.access(path, os.X_OK):
        found = "is not an executable file; correct the path"
    else:
        return [path]
    raise CommandExecutionError(
        f"the master's configuration: salina.provisioner: {show(path)} {found}"
    )
