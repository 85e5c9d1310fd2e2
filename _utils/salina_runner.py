"""What this project's runners share: the master's view, with errors as Salt shows them."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

import salina_site
from salina_yaml import DataError


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
