"""What this project's runners share: the master's view, and errors that Salt shows well."""

from __future__ import annotations

import os
from typing import Any

from salt.exceptions import CommandExecutionError

from salina_fleet import policy
from salina_fleet import site as salina_site
from salina_fleet.change import scale
from salina_fleet.model import members
from salina_fleet.schema.document import DataError, show

LAST_CHANGE = "last-change.json"
"""The file in the master's state directory that describes the last complete change."""


def site(opts: dict[str, Any]) -> salina_site.Site:
    """Everything the master decides from, where its configuration says (`salina:`).

    Raises CommandExecutionError with every fault: a runner that raises it ends with exit code 1
    and the message.
    """
    configured = opts.get("salina")
    if not configured:
        raise CommandExecutionError("the master's configuration has no `salina: {root, state}`")
    try:
        return salina_site.read(configured["root"], configured["state"])
    except DataError as error:
        raise CommandExecutionError(str(error)) from None  # the message says it all


def unfinished(site: salina_site.Site) -> dict[str, list[str]]:
    """The hosts of each pool that a change has begun with and not finished.

    Raises CommandExecutionError: the file that tells is damaged.
    """
    file = site.state / members.UNFINISHED
    try:
        return members.unfinished(file, site.fleet.topology)
    except members.MembersError as error:
        raise CommandExecutionError(str(error)) from None  # the message says it all


def plan(site: salina_site.Site, request: dict[str, Any]) -> scale.Change:
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


def told(site: salina_site.Site, change: scale.Change) -> dict[str, Any]:
    """Return a change with its steps and the hosts that follow it, as `scale.told` describes."""
    balancers = [host.id for host in site.fleet.having("balancer")]
    beside = policy.neighbours(site.fleet, site.fleet.topology.pools[change.pool].roles)
    still = {*change.touched, *balancers}
    return scale.told(change, [host for host in beside if host not in still], balancers)


def plain(request: dict[str, Any]) -> dict[str, Any]:
    """Return a runner's arguments without those that Salt adds."""
    return {key: value for key, value in request.items() if not key.startswith("__")}


def provisioner(opts: dict[str, Any]) -> list[str] | None:
    """The command that makes and removes hosts; None: the operator does.

    The master's configuration names it, since it is that machine's own: `salina: {provisioner}`.
    Called with `create ID`, user data on standard input, or with `destroy ID`; asked again for
    what is so already, it succeeds. Raises CommandExecutionError when it can't be called.
    """
    path = opts.get("salina", {}).get("provisioner")
    if path is None:
        return None
    if not isinstance(path, str) or not os.path.isabs(path):
        found = "allowed is the absolute path of an executable"
    elif not os.path.isfile(path) or not os.access(path, os.X_OK):
        found = "there is no such executable"
    else:
        return [path]
    raise CommandExecutionError(
        f"the master's configuration: salina.provisioner: {show(path)}, {found}"
    )
