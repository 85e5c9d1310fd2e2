"""Create, take and check the service's secrets. Jobs keep results, so no function returns one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from salina_fleet import runner, secrets
from salina_fleet.errors import RunnerError
from salina_fleet.model import release
from salina_fleet.model.backup import BackupSettings
from salina_fleet.model.monitoring import MonitoringSettings
from salina_fleet.model.source import KEY
from salina_fleet.model.tls import TlsSettings
from salina_fleet.role import ACME
from salina_fleet.schema.faults import Faults
from salina_fleet.schema.rules import Reading

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


def deploy_key(name: str, file: str) -> str:
    """Take the key with which the fleet reads a private git repository, and keep it.

    The definition of an application names it: `key: NAME`. A newer key replaces an older one.

    Args:
        name: the name of the key.
        file: a file on the master with the private key, without a password; or - for standard
            input.

    Returns:
        The public part, which the git server must know, and the next command.

    Raises:
        RunnerError: the name is not valid, or there is no such key. Nothing was kept.

    CLI Example:
        salt-run secrets.deploy_key addons /root/addons
        salt-run secrets.deploy_key addons - < /root/addons
    """
    faults = Faults()
    KEY.read(name, (None, "name"), Reading(None, faults))
    if faults.lines:
        raise RunnerError("\n".join(faults.lines))
    store = secrets.open_store(runner.state(__opts__))
    try:
        private = _given(file).decode("ascii")
        public = secrets.public_part(private)
        store.replace(secrets.deploy(name), private)
    except OSError as error:
        raise RunnerError(f"{error.filename}: {error.strerror}") from None
    except UnicodeDecodeError:  # its text would show a part of the key
        raise RunnerError(f"{file}: it is not a private key; must be plain text") from None
    except secrets.SecretsError as error:
        raise RunnerError(f"{file}: {error}") from None
    return (
        f"the deploy key {name} is kept with the secrets; its public part: {public}\n"
        "next: salt-run fleet.resolve"
    )


def check() -> str:
    """Check that every secret exists and only root can read it, and that the CA's key fits.

    The deploy keys that definitions name are among them.

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
    second = site.fleet.settings[BackupSettings].second
    given = [secrets.second(second.kind)] if second else []
    given += [secrets.RELAY] if site.fleet.settings[MonitoringSettings].relay_user else []
    keys = release.keys(site.definitions)
    faults = secrets.check(site.store, topology.applications, acme, copies, keys, given)
    if faults:
        raise RunnerError("\n  ".join(["secrets:", *faults]))
    return f"all secrets are in {site.store.folder}"


def second(file: str) -> str:
    """Take the login for the second repository, and keep it with the secrets.

    A newer one replaces an older one in the same way.

    Args:
        file: a file on the master, or - for standard input. For `kind: s3` it has two lines, the id
            of an access key and its secret; for `kind: sftp` a private key without a passphrase.

    Returns:
        A sentence with the next command.

    Raises:
        RunnerError: the settings have no second repository, or the file cannot be read or used.

    CLI Example:
        salt-run secrets.second /root/second.key
    """
    site = runner.site(__opts__)
    settings = site.fleet.settings[BackupSettings].second
    if settings is None:
        raise RunnerError("pillar/settings/backup.yaml: second: is null; name the place first")
    try:
        value = secrets.login(settings.kind, _given(file))
    except OSError as error:
        raise RunnerError(f"{error.filename}: {error.strerror}") from None
    except secrets.SecretsError as error:
        raise RunnerError(f"{file}: {error}") from None
    name = secrets.second(settings.kind)
    site.store.replace(name, value)
    hosts = ",".join(host.id for host in site.fleet.having("backup"))
    return f"{name} is kept with the secrets\nnext: salt {hosts} state.apply"


def relay(file: str) -> str:
    """Take the password at the mail server of monitoring, and keep it with the secrets.

    A newer one replaces an older one in the same way. The user is `relay_user` in
    pillar/settings/monitoring.yaml.

    Args:
        file: a file on the master with the password on one line, or - for standard input.

    Returns:
        A sentence with the next command.

    Raises:
        RunnerError: the settings name no user, or the file cannot be read or used.

    CLI Example:
        salt-run secrets.relay /root/relay
        salt-run secrets.relay - < /root/relay
    """
    site = runner.site(__opts__)
    if site.fleet.settings[MonitoringSettings].relay_user is None:
        raise RunnerError("pillar/settings/monitoring.yaml: relay_user: is null; name it first")
    try:
        value = secrets.line(_given(file))
    except OSError as error:
        raise RunnerError(f"{error.filename}: {error.strerror}") from None
    except secrets.SecretsError as error:
        raise RunnerError(f"{file}: {error}") from None
    site.store.replace(secrets.RELAY, value)
    hosts = ",".join(host.id for host in site.fleet.having("monitoring"))
    return f"{secrets.RELAY} is kept with the secrets\nnext: salt {hosts} state.apply"


def _given(file: str) -> bytes:
    """Return what the operator gives: the content of a file, or standard input for -."""
    return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
