"""The provisioner that makes and removes hosts, and the keys of their minions.

The master makes a key, accepts it before its host exists, and gives it to the host in the user
data.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import salt.cache
import salt.crypt
import salt.key
from salt.exceptions import CommandExecutionError

from salina.common import reading
from salina_fleet import runner
from salina_fleet.change import turns
from salina_fleet.errors import RunnerError
from salina_fleet.provision import userdata
from salina_fleet.site import Site

KEY_BITS = 2048
PARALLEL = 4
"""Hosts that the provisioner makes or removes at the same time."""

Failures = dict[str, str]
"""Host -> why it could not be made, or removed."""


def user_data(opts: dict[str, Any], site: Site, host: str) -> str:
    """Return the user data of a host's first start, with a new key that is accepted already.

    The new host knows nothing of the turns that an earlier host of this id had, so they end.

    Raises:
        RunnerError: the operator's part of the user data is invalid, or the file of the turns is
            damaged. No key was changed then.
    """
    further = runner.user_data(opts)
    (master, *_) = site.fleet.having("master")
    turns.clear(site.state / turns.FILE, host)
    private, public = salt.crypt.gen_keys(KEY_BITS)
    _keys(opts).store("keys", host, {"pub": public, "state": "accepted"})
    own, settings = (
        _text(file)
        for file in (Path(opts["pki_dir"]) / "master.pub", site.root / userdata.SETTINGS_SOURCE)
    )
    address = site.fleet.address(master, "management")
    return userdata.render(host, address, private, public, own, settings, further)


def _text(file: Path) -> str:
    try:
        return reading.text(file)
    except OSError as error:
        raise RunnerError(f"{file}: the file cannot be read: {error.strerror}") from None


def accepted(opts: dict[str, Any], host: str) -> bool:
    """Tell whether the host has a key: the host exists, or is about to."""
    return bool((_keys(opts).fetch("keys", host) or {}).get("state") == "accepted")


def create(opts: dict[str, Any], site: Site, hosts: Sequence[str]) -> Failures:
    """Let the provisioner make hosts; without one the operator makes them.

    Returns:
        The hosts that it could not make.

    Raises:
        RunnerError: the provisioner cannot be called at all.
    """
    command = runner.provisioner(opts)
    if command is None:
        return {}
    return _each(lambda host: _call([*command, "create", host], user_data(opts, site, host)), hosts)


def destroy(opts: dict[str, Any], hosts: Sequence[str]) -> Failures:
    """Remove hosts, with everything that the master keeps for them; a missing host is not an error.

    Returns:
        The hosts that the provisioner could not remove.

    Raises:
        RunnerError: the provisioner cannot be called at all, or the file of the turns is damaged.
    """
    command = runner.provisioner(opts)
    failed = _each(lambda host: _call([*command, "destroy", host]), hosts) if command else {}
    keys = salt.key.get_key(opts)
    for host in hosts:
        if host not in failed:  # while it lives, it would ask for a new one
            keys.delete_key(match=host)
            (Path(opts["cachedir"]) / "sessions" / host).unlink(missing_ok=True)
            turns.clear(runner.state(opts) / turns.FILE, host)
    return failed


def _keys(opts: dict[str, Any]) -> Any:
    return salt.cache.Cache(opts, driver=opts["keys.cache_driver"])


def _each(action: Callable[[str], None], hosts: Iterable[str]) -> Failures:
    """Do something for each host at the same time; one failure does not stop the others."""

    def attempt(host: str) -> tuple[str, str]:
        try:
            action(host)
        except CommandExecutionError as error:
            return host, str(error)
        return host, ""

    with ThreadPoolExecutor(PARALLEL) as pool:
        return {host: why for host, why in pool.map(attempt, hosts) if why}


def _call(argv: list[str], given: str = "") -> None:
    done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise RunnerError(f"{' '.join(argv)} ended with exit code {done.returncode}: {said}")
