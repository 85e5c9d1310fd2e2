"""Move the files of a running fleet to TLS. orch.storage_tls calls these functions in order.

GlusterFS cannot do this while it serves: a process with TLS and one without it cannot talk to each
other. So the applications stop, and every function can be repeated after an interruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from salina.common import wait
from salina.storage import gluster
from salina_fleet import minions, runner
from salina_fleet.change import exclusive
from salina_fleet.change import follow as progress
from salina_fleet.change import storage_tls as steps
from salina_fleet.errors import RunnerError
from salina_fleet.roles import storage
from salina_fleet.roles.storage import CERTIFICATE, StorageSettings
from salina_fleet.site import Site

__opts__: dict[str, Any]

WAIT = 120
"""Seconds for the storage hosts to find each other again, and for the bricks to be whole."""


def tls() -> dict[str, Any]:
    """Return the steps that move the fleet's files to TLS, and exclude other changes.

    Returns:
        `what`, the change in words, and the `steps`; none if every volume uses TLS already.

    Raises:
        RunnerError: the settings want no TLS, a storage host does not answer, or another change is
            running.

    CLI Example:
        salt-run storage.tls
    """
    site = _site()
    servers, apps = runner.having(site, "storage"), runner.having(site, "app")
    if not servers or not site.fleet.settings[StorageSettings].tls:
        raise RunnerError("tls: false in pillar/settings/storage.yaml, or no host has role storage")
    if _uses_tls(site):
        return steps.told([], [])
    try:
        exclusive.take(site.change_file, steps.WHAT)
    except exclusive.BusyError as error:
        raise RunnerError(f"{error}\nnext: salt-run fleet.status") from None
    return steps.told(servers, apps)


def tls_ready() -> list[str]:
    """Return the hosts that are ready for TLS. This changes nothing.

    Returns:
        The storage hosts and the app hosts.

    Raises:
        RunnerError: a host has no certificate for GlusterFS, or a volume is not whole. Apply the
            states first.

    CLI Example:
        salt-run storage.tls_ready
    """
    site = _site()
    servers, hosts = runner.having(site, "storage"), _everyone(site)
    wrong = {
        host: faults
        for host, faults in _ask(hosts, "certificate.faults", CERTIFICATE).items()
        if faults
    }
    first = servers[0]
    found = _ask([first], "gluster.volumes")[first]
    for volume in _volumes(site):
        if volume not in found:
            wrong[first] = [f"there is no volume {volume}"]
        elif not _secured(found[volume]):  # otherwise an interrupted move may have stopped it
            faults = _ask([first], "gluster.faults", volume)[first]
            wrong |= {first: faults} if faults else {}
    if wrong:
        told = "\n".join(f"{host}: {'; '.join(faults)}" for host, faults in wrong.items())
        raise RunnerError(f"{told}\nnext: salt-run state.orchestrate orch.deploy")
    return hosts


def tls_stop(hosts: Sequence[str]) -> list[str]:
    """Stop the applications and unmount the volume on app hosts. Users get an error from here on.

    Args:
        hosts: ids.

    Returns:
        The hosts.

    Raises:
        RunnerError: a host does not answer, or its volume is still in use.

    CLI Example:
        salt-run storage.tls_stop hosts='[s1, s2, s3]'
    """
    progress.note(hosts, "stops its application")
    _ask(hosts, "gluster.unmount", _site().fleet.settings[StorageSettings].mount)
    return list(hosts)


def tls_switch() -> dict[str, str]:
    """Restart GlusterFS with TLS on all storage hosts, and start the volumes with it.

    Returns:
        The status of each volume.

    Raises:
        RunnerError: a host does not answer, or gluster refused.

    CLI Example:
        salt-run storage.tls_switch
    """
    site = _site()
    servers, wanted = runner.having(site, "storage"), _volumes(site)
    first = servers[0]
    secured = _ask(servers, "gluster.tls")
    late = [host for host in servers if not secured[host]]
    if late != servers:  # an earlier move was interrupted: together again before the rest
        _restart(late, servers)
    found = _ask([first], "gluster.volumes")[first]
    for name, options in wanted.items():
        plain = not _secured(found[name])
        if plain:
            _ask([first], "gluster.set_options", name, options)
        if found[name]["status"] == "Started" and (plain or late == servers):
            _ask([first], "gluster.stop", name)
    if late == servers:
        _restart(late, servers)
    for name in wanted:
        if _ask([first], "gluster.volumes")[first][name]["status"] != "Started":
            _ask([first], "gluster.start", name)
        _clear(
            lambda name=name: "; ".join(_ask([first], "gluster.faults", name)[first]),
            f"volume {name}",
        )
    return {name: one["status"] for name, one in _ask([first], "gluster.volumes")[first].items()}


def _restart(hosts: Sequence[str], servers: Sequence[str]) -> None:
    """Restart GlusterFS with TLS on storage hosts, and wait until all see each other."""
    progress.note(hosts, "restarts GlusterFS with TLS")
    _ask(hosts, "gluster.restart_with_tls")

    def apart() -> str:
        return "; ".join(
            f"{host} has no connection to {peer['names'][0]}"
            for host in servers
            for peer in _ask([host], "gluster.pool", host)[host]
            if not peer["connected"]
        )

    _clear(apart, "the storage hosts to be connected")


def _clear(obstacle: Any, what: str) -> None:
    def asked() -> str:
        try:
            return str(obstacle())
        except RunnerError as error:  # glusterd has just started
            return str(error)

    try:
        wait.clear(asked, WAIT, what)
    except TimeoutError as error:
        raise RunnerError(str(error)) from None


def _uses_tls(site: Site) -> bool:
    """Return whether every storage host and every volume uses TLS already."""
    servers = runner.having(site, "storage")
    if not all(_ask(servers, "gluster.tls").values()):
        return False
    found = _ask(servers[:1], "gluster.volumes")[servers[0]]
    return all(
        name in found and _secured(found[name]) and found[name]["status"] == "Started"
        for name in _volumes(site)
    )


def _secured(volume: dict[str, Any]) -> bool:
    return bool(volume["options"].get(gluster.TLS) == "on")


def _volumes(site: Site) -> dict[str, dict[str, str]]:
    """Return each volume's options for TLS."""
    settings = site.fleet.settings[StorageSettings]
    return {
        storage.volume(application, settings): storage.tls_options(site.fleet, application)
        for application in site.fleet.topology.applications.values()
    }


def _everyone(site: Site) -> list[str]:
    return list(dict.fromkeys([*runner.having(site, "storage"), *runner.having(site, "app")]))


def _ask(hosts: Sequence[str], function: str, *arguments: Any) -> dict[str, Any]:
    return minions.ask(__opts__, hosts, function, arguments) if hosts else {}


def _site() -> Site:
    return runner.site(__opts__)
