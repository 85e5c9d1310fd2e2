"""Make and judge the service's secrets. Values are never returned: results are kept in jobs."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from salina_fleet import runner, secrets
from salina_fleet.model.settings import TlsSettings

__opts__: dict[str, Any]


def create() -> dict[str, list[str]]:
    """Make every secret that is missing, among them the fleet's own CA; those there are kept.

    Returns the names of those that were made. Raises CommandExecutionError.

    CLI Example: salt-run secrets.create
    """
    site = runner.site(__opts__)
    names, days = list(site.fleet.topology.applications), site.fleet.settings[TlsSettings].ca_days
    try:
        made = secrets.create(site.store, names, days)
    except (OSError, secrets.SecretsError) as error:
        raise CommandExecutionError(f"secrets were not made: {error}") from None
    return {"made": made}


def check() -> str:
    """Judge the secrets: all there, readable by root alone, the CA's key and certificate a pair.

    Raises CommandExecutionError with every fault.

    CLI Example: salt-run secrets.check
    """
    site = runner.site(__opts__)
    faults = secrets.check(site.store, site.fleet.topology.applications)
    if faults:
        raise CommandExecutionError("\n  ".join(["secrets:", *faults]))
    return f"all secrets are in {site.store.folder}"
