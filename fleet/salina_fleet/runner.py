"""What this project's runners share: the master's view, with errors as Salt shows them."""

from __future__ import annotations

import os
from typing import Any

from salt.exceptions import CommandExecutionError

from salina_fleet import site as salina_site
from salina_fleet.model import members
from salina_fleet.schema.document import DataError, show


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
