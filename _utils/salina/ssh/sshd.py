"""sshd's configuration as it is in force, and the accounts that can log in with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

Settings = Mapping[str, Sequence[str]]
"""The output of `sshd -T`: an option in small letters -> its values, one for each line."""
NO_LOGIN = ("nologin", "false", "sync")
"""Shells that end a login at once."""


@dataclass(frozen=True)
class Account:
    """An account of the host.

    `groups`: the names of its groups. `key`, `password`: whether it has a public key or a password,
    with which somebody could log in.
    """

    name: str
    groups: tuple[str, ...]
    key: bool
    password: bool


def settings(printed: str) -> dict[str, list[str]]:
    """Return the settings that `sshd -T` prints."""
    found: dict[str, list[str]] = {}
    for line in printed.splitlines():
        option, _, value = line.partition(" ")
        found.setdefault(option.lower(), []).append(value.strip())
    return found


def unheeded(wanted: str, current: Settings) -> list[str]:
    """Return the lines of a file of the configuration that are not in force, each with its reason.

    Args:
        wanted: the file's text. A list that begins with `-` names what must not be there. A `Match`
            block and what follows is left out.
        current: the settings in force.
    """
    faults = []
    for line in wanted.splitlines():
        option, _, value = line.partition(" ")
        if option == "Match":
            break
        if not option or option.startswith("#"):
            continue
        values = current.get(option.lower(), ())
        if option == "HostKey" and value in values:
            continue  # the host may have further ones
        there = ",".join(values)
        if value.startswith("-"):
            patterns = value[1:].split(",")
            old = [one for one in there.split(",") if any(fnmatchcase(one, p) for p in patterns)]
            faults += [f"{option} has {', '.join(old)}"] if old else []
        elif there != value:
            faults.append(f"{option} is {there or 'not known'} instead of {value}")
    return faults


def logins(accounts: Iterable[Account], current: Settings) -> dict[str, str]:
    """Return the accounts that can log in with the settings in force, each with how it can.

    A `Match` block is not taken into account.
    """
    found = {}
    for one in accounts:
        root = one.name == "root"
        permitted = current["permitrootlogin"][0] if root else "yes"
        key = one.key and _yes(current, "pubkeyauthentication") and permitted != "no"
        asked = _yes(current, "passwordauthentication") or _yes(
            current, "kbdinteractiveauthentication"
        )
        password = one.password and asked and permitted == "yes"
        if (key or password) and _among(one, current):
            found[one.name] = "with a key" if key else "with a password"
    return found


def others(current: Settings) -> str:
    """Return the option by which sshd finds keys outside of the accounts' files, or ""."""
    for option in ("authorizedkeyscommand", "trustedusercakeys"):
        if current.get(option, ["none"]) != ["none"]:
            return option
    return ""


def with_keys_only(accounts: Iterable[Account], current: Settings) -> dict[str, str]:
    """Return the accounts that can log in with keys only and without root, as in `logins`."""
    only = {
        "permitrootlogin": ["no"],
        "pubkeyauthentication": ["yes"],
        "passwordauthentication": ["no"],
        "kbdinteractiveauthentication": ["no"],
    }
    return logins(accounts, {**current, **only})


def key_files(current: Settings, name: str, uid: int, home: str) -> list[str]:
    """Return the files in which sshd looks for the public keys of an account."""
    signs = {"%h": home, "%u": name, "%U": str(uid), "%%": "%"}
    files = []
    for pattern in " ".join(current.get("authorizedkeysfile", ())).split():
        if pattern == "none":
            continue
        for sign, value in signs.items():
            pattern = pattern.replace(sign, value)
        files.append(pattern if pattern.startswith("/") else f"{home}/{pattern}")
    return files


def has_key(text: str) -> bool:
    """Tell whether a file of public keys has a key."""
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())


def _yes(current: Settings, option: str) -> bool:
    return current.get(option, ["no"])[0] == "yes"


def _among(account: Account, current: Settings) -> bool:
    """Tell whether sshd's lists of users and groups let an account in."""

    def named(option: str, names: Iterable[str]) -> bool:
        patterns = [one.partition("@")[0] for one in " ".join(current.get(option, ())).split()]
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)

    user, groups = [account.name], account.groups
    if named("denyusers", user) or named("denygroups", groups):
        return False
    if current.get("allowusers") and not named("allowusers", user):
        return False
    return not current.get("allowgroups") or named("allowgroups", groups)
