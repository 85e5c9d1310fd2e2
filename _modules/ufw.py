"""ufw, the firewall of every host: its rules, its status, on and off."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import salt.utils.path
from salt.exceptions import CommandExecutionError

import salina_ufw

__salt__: dict[str, Any]

CONFIGURATION = Path("/etc/ufw/ufw.conf")


def installed() -> bool:
    """Say whether there is a ufw.

    CLI example::

        salt fw ufw.installed
    """
    return salt.utils.path.which("ufw") is not None


def rules() -> list[str]:
    """List the rules that ufw was given, also while it is inactive, as it prints them.

    Raises:
        CommandExecutionError: ufw failed.

    CLI example::

        salt fw ufw.rules
    """
    return [str(rule) for rule in salina_ufw.added(_ufw("show", "added"))]


def plan(rules: list[dict[str, str]], routes: list[dict[str, str]]) -> dict[str, list[str]]:
    """Compare ufw's rules with those wanted.

    Args:
        rules: ``{comment, proto, ports, from, to}`` each, as in pillar ``ufw``.
        routes: the same for packets that pass through this host.

    Returns:
        ``add`` and ``delete``: the rules, empty when all is as it is to be.

    Raises:
        CommandExecutionError: ufw failed, or a rule wanted is none.

    CLI example::

        salt fw ufw.plan '[]' '[]'
    """
    try:
        want = salina_ufw.wanted(rules, routes)
    except (KeyError, ValueError) as error:
        raise CommandExecutionError(f"pillar ufw: {error}") from error
    have = salina_ufw.added(_ufw("show", "added")) if installed() else []
    add, delete = salina_ufw.plan(have, want)
    return {"add": [str(rule) for rule in add], "delete": [str(rule) for rule in delete]}


def add(rule: str) -> None:
    """Add a rule, or give one that is there another comment.

    Args:
        rule: in the words of ufw: ``allow from 10.1.5.2 to any port 22 proto tcp comment 'ssh'``.

    Raises:
        CommandExecutionError: ufw refused it.

    CLI example::

        salt fw ufw.add "allow from 10.1.5.2 to any port 22 proto tcp comment 'ssh'"
    """
    _ufw(*_parse(rule).addition[1:])


def delete(rule: str) -> None:
    """Delete a rule.

    Args:
        rule: as ``ufw.rules`` prints it.

    Raises:
        CommandExecutionError: ufw refused.

    CLI example::

        salt fw ufw.delete "allow 22/tcp"
    """
    _ufw(*_parse(rule).deletion[1:])


def status() -> dict[str, Any]:
    """Say how the firewall as a whole stands.

    Returns:
        ``active``, ``boot`` (it will be after a boot, too), ``logging``, and the policies
        ``incoming``, ``outgoing`` and ``routed`` (``disabled``: the kernel doesn't forward).

    Raises:
        CommandExecutionError: ufw failed.

    CLI example::

        salt '*' ufw.status
    """
    found = dataclasses.asdict(salina_ufw.status(_ufw("status", "verbose")))
    boot = re.search(r"^ENABLED=yes$", CONFIGURATION.read_text(encoding="utf-8"), re.MULTILINE)
    return {"boot": boot is not None, **found}


def enable(logging: str = "low") -> None:
    """Switch the firewall on, now and for every boot. Rules and policies must be in place.

    Args:
        logging: ``off``, ``low``, ``medium``, ``high`` or ``full``.

    Raises:
        CommandExecutionError: ufw failed.

    CLI example::

        salt fw ufw.enable
    """
    _ufw("--force", "enable")
    _ufw("logging", logging)


def reload() -> None:
    """Load all files of /etc/ufw and its kernel settings anew.

    Raises:
        CommandExecutionError: ufw failed.

    CLI example::

        salt fw ufw.reload
    """
    _ufw("reload")


def _parse(rule: str) -> salina_ufw.Rule:
    return salina_ufw.added(f"ufw {rule}")[0]


def _ufw(*arguments: str) -> str:
    """Run ufw in English and return what it says."""
    command = ["ufw", *arguments]
    result = __salt__["cmd.run_all"](command, python_shell=False, env={"LC_ALL": "C"})
    if result["retcode"] != 0:
        said = result["stderr"] or result["stdout"]
        raise CommandExecutionError(f"{shlex.join(command)}: {said}")
    return str(result["stdout"])
