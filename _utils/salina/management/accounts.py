"""The plan that brings the operators' accounts of a host into their wanted condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHELL = "/usr/local/lib/salina-operators/session.py"
"""The shell of every operator, which records the session."""
NO_SHELL = "/usr/sbin/nologin"
MARK = "operator of Salina"
"""The full name of every account that Salina has made; its owner cannot change it (chfn)."""
LONG_AGO = 1
"""The day since 1970 on which the account of a removed operator has expired."""


@dataclass(frozen=True)
class Seen:
    """An account that is there.

    `full_name`, `shell`: as in /etc/passwd. `expires`: as in /etc/shadow, None for never. `groups`:
    those beside its own. `keys`: the lines of its file of keys. `busy`: whether it has processes.
    """

    full_name: str
    shell: str
    expires: int | None
    groups: tuple[str, ...]
    keys: tuple[str, ...]
    busy: bool


@dataclass(frozen=True)
class Step:
    """A change of an account.

    `changes`: in words. `argv`: the command that changes the account, or nothing. `keys`: the new
    lines of its file of keys; None leaves them, and no line deletes the file. `ends`: whether its
    sessions end. `gone`: whether the topology no longer lists the operator.
    """

    name: str
    changes: dict[str, Any]
    argv: tuple[str, ...] = ()
    keys: tuple[str, ...] | None = None
    ends: bool = False
    gone: bool = False


def faults(wanted: Sequence[Mapping[str, Any]], seen: Mapping[str, Seen]) -> list[str]:
    """Return the accounts that somebody else has made under the name of an operator."""
    return [
        f"{one['name']}: the host has an account of this name, which is not an operator's; choose "
        f"another name in pillar/topology.yaml, or remove the account (userdel {one['name']})"
        for one in wanted
        if one["name"] in seen and seen[one["name"]].full_name != MARK
    ]


def plan(
    wanted: Sequence[Mapping[str, Any]], seen: Mapping[str, Seen], today: int
) -> Iterator[Step]:
    """Yield a step for each account that is not as it must be: first those that end an access.

    A session ends if its operator may do less than before: because the access has ended, a key was
    removed or a group.

    An account that somebody else has made stays as it is.

    Args:
        wanted: the accounts: name, groups, expires and keys (pillar `operators.accounts`).
        seen: the accounts that are there.
        today: the day, in days since 1970 (UTC).
    """
    names = {one["name"] for one in wanted}
    for name, account in seen.items():
        if name in names or account.full_name != MARK:
            continue
        gone = Seen(MARK, NO_SHELL, LONG_AGO, (), (), busy=False)
        if account != gone:
            argv = ("usermod", *_options((), LONG_AGO, NO_SHELL), name)
            same = (account.shell, account.expires, account.groups) == (NO_SHELL, LONG_AGO, ())
            keys = () if account.keys else None
            changes = {"removed": "its keys, its groups and its sessions"}
            yield Step(name, changes, () if same else argv, keys, account.busy, gone=True)
    for one in wanted:
        if one["name"] in seen and seen[one["name"]].full_name != MARK:
            continue  # `faults` names it
        step = _step(one, seen.get(one["name"]), today)
        if step.changes:
            yield step


def _step(one: Mapping[str, Any], account: Seen | None, today: int) -> Step:
    """Return the step for a wanted account; without changes there is nothing to do."""
    groups, keys, expires = tuple(sorted(one["groups"])), tuple(one["keys"]), one["expires"]
    options = _options(groups, expires, SHELL)
    if account is None:
        add = ("useradd", "--create-home", "--user-group", "--key", "HOME_MODE=0700")
        argv = (*add, "--comment", MARK, "--password", "*", *options, one["name"])
        return Step(one["name"], {"added": ", ".join(groups)}, argv, keys)
    changes: dict[str, Any] = {}
    for what, old, new in (
        ("groups", account.groups, groups),
        ("expires", account.expires, expires),
        ("shell", account.shell, SHELL),
    ):
        if old != new:
            changes[what] = {"old": _shown(old), "new": _shown(new)}
    argv = ("usermod", *options, one["name"]) if changes else ()
    if account.keys != keys:
        changes["keys"] = "changed"
    gone = {*map(_key, account.keys)} - {*map(_key, keys)}
    less = bool({*account.groups} - {*groups}) or bool(gone)
    ends = account.busy and (less or expires <= today)
    if ends:
        changes["sessions"] = "ended"
    return Step(one["name"], changes, argv, keys if account.keys != keys else None, ends)


def _key(line: str) -> str:
    """Return the key of a line, without its options."""
    return " ".join(line.split()[-2:])


def _shown(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value


def _options(groups: Sequence[str], expires: int, shell: str) -> tuple[str, ...]:
    return ("--groups", ",".join(groups), "--expiredate", str(expires), "--shell", shell)
