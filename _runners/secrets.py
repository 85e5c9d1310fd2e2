"""Create and check the service's secrets. Jobs keep results, so no function returns a secret."""

from __future__ import annotations

from typing import Any

from salina_fleet import runner, secrets
from salina_fleet.errors import RunnerError
from salina_fleet.model.tls import TlsSettings
from salina_fleet.role import ACME

__opts__: dict[str, Any]


def create() -> dict[str, list[str]]:
    """Create every missing secret, the fleet's own CA among them. Existing ones stay.

    Returns:
        {"made": names of the new secrets}.

    Raises:
        RunnerError: a secret cannot be written.

    CLI Example:
        salt-run secrets.create
    """
    site = runner.site(__opts__)
    topology, tls = site.fleet.topology, site.fleet.settings[TlsSettings]
    names, copies = list(topology.applications), [one.name for one in topology.copies]
    try:
        made = secrets.create(site.store, names, tls.ca_days, tls.public == ACME, copies)
    except (OSError, secrets.SecretsError) as error:
        raise RunnerError(f"secrets were not created: {error}") from None
    return {"made": made}


def check() -> str:
    """Check that every secret exists and only root can read it, and that the CA's key fits.

    Returns:
        A sentence that says where they are.

    Raises:
        RunnerError: with every fault.

    CLI Example:
        salt-run secrets.check
    """
    site = runner.site(__opts__)
    acme = site.fleet.settings[TlsSettings].public == ACME
    topology = site.fleet.topology
    copies = [one.name for one in topology.copies]
    faults = secrets.check(site.store, topology.applications, acme, copies)
    if faults:
        raise RunnerError("\n  ".join(["secrets:", *faults]))
    return f"all secrets are in {site.store.folder}"
