"""Bring the operators' accounts of this host into their wanted condition."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import commands, file, wait
from salina.management import accounts

__salt__: dict[str, Any]

KEYS = Path("/etc/salina/ssh/keys")
"""Root's directory with a file of public keys for each operator."""
SHADOW = Path("/etc/shadow")
PROCESSES = Path("/proc")
PATIENCE = 10
"""Seconds until killed processes are gone."""
RECORDS = "salina-session@{name}.socket"
"""The unit of the socket that takes an operator's records."""
EXPIRES = 7
"""The place of the day in a line of /etc/shadow."""


def plan(wanted: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what has to change, and change nothing.

    Args:
        wanted: the accounts (pillar `operators.accounts`).

    Returns:
        The changes of each account that is not as it must be.

    CLI Example:
        salt s1 operators.plan '[]'
    """
    return {step.name: step.changes for step in _steps(wanted)}


def faults(wanted: Sequence[dict[str, Any]]) -> list[str]:
    """Return why the accounts cannot be made.

    Args:
        wanted: the accounts (pillar `operators.accounts`).

    Returns:
        A reason for each name that another account has already.

    CLI Example:
        salt s1 operators.faults '[]'
    """
    return accounts.faults(wanted, _seen())


def settle(wanted: Sequence[dict[str, Any]]) -> None:
    """Make the accounts as they must be: first the keys that go, then the account, then the rest.

    Args:
        wanted: the accounts (pillar `operators.accounts`).

    Raises:
        CommandExecutionError: a command failed, or a file cannot be written.

    CLI Example:
        salt s1 operators.settle '[]'
    """
    for step in _steps(wanted):
        if step.keys is not None:
            _write(step.name, step.keys)
        if step.argv:
            commands.run(__salt__["cmd.run_all"], step.argv)
        if step.ends:
            _end(step.name)
        if step.gone:
            unit = RECORDS.format(name=step.name)
            with contextlib.suppress(CommandExecutionError):  # no session was ever recorded
                commands.run(__salt__["cmd.run_all"], ["systemctl", "disable", "--now", unit])


def _steps(wanted: Sequence[dict[str, Any]]) -> list[accounts.Step]:
    return list(accounts.plan(wanted, _seen(), int(time.time() // 86_400)))


def _write(name: str, keys: Sequence[str]) -> None:
    path = KEYS / name
    if not keys:
        path.unlink(missing_ok=True)
        return
    file.put(path, "".join(f"{line}\n" for line in keys))


def _end(name: str) -> None:
    """Kill every process of an account, so also what outlives a session."""
    uid = pwd.getpwnam(name).pw_uid

    def ended() -> bool:
        left = _processes(uid)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    if not wait.until(ended, PATIENCE):
        raise CommandExecutionError(f"{name} still has processes after {PATIENCE} s; apply again")
    # the operator's own manager of systemd was among them, and would be a failed unit from now on
    argv = ("systemctl", "reset-failed", f"user@{uid}.service")
    with contextlib.suppress(CommandExecutionError):  # many hosts start none
        commands.run(__salt__["cmd.run_all"], argv, ignore_retcode=True)


def _processes(uid: int) -> list[int]:
    """Return the processes that belong to an account."""
    found = []
    for entry in PROCESSES.iterdir():
        if entry.name.isdigit():
            try:
                lines = (entry / "status").read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                continue
            fields = {key: rest.split() for key, _, rest in (one.partition(":") for one in lines)}
            if str(uid) in fields["Uid"] and fields["State"][0] != "Z":
                found.append(int(entry.name))
    return found


def _seen() -> dict[str, accounts.Seen]:
    """Return the accounts of this host."""
    shadow = {}
    for line in SHADOW.read_text().splitlines():
        fields = line.split(":")
        if len(fields) > EXPIRES:
            shadow[fields[0]] = int(fields[EXPIRES]) if fields[EXPIRES].isdigit() else None
    groups: dict[str, list[str]] = {}
    for group in grp.getgrall():
        for member in group.gr_mem:
            groups.setdefault(member, []).append(group.gr_name)
    found = {}
    for entry in pwd.getpwall():
        name, full_name = entry.pw_name, entry.pw_gecos.partition(",")[0]
        own = full_name == accounts.MARK
        path = KEYS / name
        found[name] = accounts.Seen(
            full_name,
            entry.pw_shell,
            shadow.get(name),
            tuple(sorted(groups.get(name, ()))),
            tuple(path.read_text().splitlines()) if own and path.is_file() else (),
            own and bool(_processes(entry.pw_uid)),
        )
    return found
