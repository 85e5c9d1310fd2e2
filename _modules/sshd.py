"""Compare sshd's configuration with the wanted one, and find out who can log in with it."""

from __future__ import annotations

import contextlib
import grp
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from salina.common import commands
from salina.ssh import sshd

__salt__: dict[str, Any]

PROGRAM = "/usr/sbin/sshd"
RUNTIME = Path("/run/sshd")
"""sshd needs it to check a configuration, and it exists only after a start of the service."""
SHADOW = Path("/etc/shadow")


def settings() -> dict[str, list[str]]:
    """Return the settings that sshd reads from its configuration now.

    Returns:
        Each option in small letters, with its values. `Match` blocks are not applied.

    Raises:
        CommandExecutionError: the configuration has a fault; the message has sshd's words.

    CLI Example:
        salt s1 sshd.settings
    """
    RUNTIME.mkdir(mode=0o755, exist_ok=True)
    return sshd.settings(commands.run(__salt__["cmd.run_all"], [PROGRAM, "-T"]))


def unheeded(path: str, port: int) -> list[str]:
    """Return the wanted settings that are not in force.

    Args:
        path: the file with the wanted settings.
        port: the port at which sshd must listen.

    Returns:
        A reason for each of them.

    Raises:
        CommandExecutionError: the configuration has a fault.

    CLI Example:
        salt s1 sshd.unheeded /etc/ssh/sshd_config.d/00-salina.conf 22
    """
    current = settings()
    faults = sshd.unheeded(Path(path).read_text(), current)
    if str(port) not in current["port"]:
        listens = ", ".join(current["port"])
        advice = "set `port` in pillar/settings/ssh.yaml"
        faults.append(f"sshd listens on {listens}, and the firewalls open {port}; {advice}")
    return faults


def obstacle(alone: bool = False) -> str:
    """Return why nobody could log in any more with keys only and without root, or "".

    Args:
        alone: whether only operators may log in, of whom there are none.

    Returns:
        The reason, with the accounts that can log in now. "" also if nobody can log in anyway.

    Raises:
        CommandExecutionError: the configuration has a fault.

    CLI Example:
        salt s1 sshd.obstacle
    """
    current = settings()
    accounts = list(_accounts(current))
    now = sshd.logins(accounts, current)
    later = sshd.others(current) or sshd.with_keys_only(accounts, current)
    if not now or (later and not alone):
        return ""
    who = ", ".join(f"{name} ({how})" for name, how in now.items())
    return f"these accounts can log in now, and none of them could afterwards: {who}"


def _accounts(current: sshd.Settings) -> Iterator[sshd.Account]:
    """Yield the accounts with a shell."""
    hashes = dict(line.split(":")[:2] for line in SHADOW.read_text().splitlines() if ":" in line)
    for entry in pwd.getpwall():
        if entry.pw_shell.rpartition("/")[2] in sshd.NO_LOGIN:
            continue
        files = map(Path, sshd.key_files(current, entry.pw_name, entry.pw_uid, entry.pw_dir))
        groups = [one.gr_name for one in grp.getgrall() if entry.pw_name in one.gr_mem]
        with contextlib.suppress(KeyError):  # its own group may have no name
            groups.append(grp.getgrgid(entry.pw_gid).gr_name)
        yield sshd.Account(
            entry.pw_name,
            tuple(groups),
            any(file.is_file() and sshd.has_key(file.read_text()) for file in files),
            hashes.get(entry.pw_name, "!")[:1] not in ("!", "*", "x"),
        )
