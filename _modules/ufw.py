"""ufw, the firewall of every host: its rules, its status, on and off."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shlex
from pathlib import Path
from typing import Any

import salt.utils.path
from salt.exceptions import CommandExecutionError

from salina.common import file
from salina.firewall import ufw

__salt__: dict[str, Any]

CONFIGURATION = Path("/etc/ufw/ufw.conf")
DEFAULTS = "/etc/default/ufw"
FORWARDING = "/proc/sys/net/ipv4/ip_forward"
#: The rules that ufw was given.
RULES = ("/etc/ufw/user.rules", "/etc/ufw/user6.rules")
#: What the kernel is loaded from.
FILES = (
    DEFAULTS,
    *(f"/etc/ufw/{name}" for name in ("sysctl.conf", "before.rules", "before6.rules")),
    *RULES,
)
#: Written when all of it has just been loaded. A boot loads all of it and takes this away.
LOADED = Path("/run/salina-ufw-loaded")
#: What ufw said, with a digest of what it said that from.
SAID = Path("/run/salina-ufw-said")


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
    return [str(rule) for rule in _rules()]


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
        want = ufw.wanted(rules, routes)
    except (KeyError, ValueError) as error:
        raise CommandExecutionError(f"pillar ufw: {error}") from error
    have = _rules() if installed() else []
    add, delete = ufw.plan(have, want)
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
    _change(*_parse(rule).addition[1:])


def delete(rule: str) -> None:
    """Delete a rule.

    Args:
        rule: as ``ufw.rules`` prints it.

    Raises:
        CommandExecutionError: ufw refused.

    CLI example::

        salt fw ufw.delete "allow 22/tcp"
    """
    _change(*_parse(rule).deletion[1:])


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
    kernel = __salt__["cmd.run_all"](["iptables", "--list-rules", "INPUT"], python_shell=False)
    files = _contents(str(CONFIGURATION), DEFAULTS, FORWARDING)
    said = _said(f"{kernel['retcode']} {kernel['stdout']}\n{files}", "status", "verbose")
    boot = re.search(r"^ENABLED=yes$", CONFIGURATION.read_text(encoding="utf-8"), re.MULTILINE)
    return {"boot": boot is not None, **dataclasses.asdict(ufw.status(said))}


def unloaded() -> list[str]:
    """List ufw's files that the kernel may not have: all of them, where loading was interrupted.

    ufw itself doesn't know: half loaded it is "active", or fails to tell.

    CLI example::

        salt fw ufw.unloaded
    """
    if not LOADED.exists():
        at_boot = __salt__["service.status"]("ufw")
        return __salt__["daemon.outdated"]("ufw", FILES) if at_boot else list(FILES)
    moment = LOADED.stat().st_mtime
    return [name for name in FILES if Path(name).exists() and Path(name).stat().st_mtime > moment]


def load(logging: str = "low") -> None:
    """Switch the firewall on, now and for every boot, with all of its files. They must be there.

    Args:
        logging: ``off``, ``low``, ``medium``, ``high`` or ``full``.

    Raises:
        CommandExecutionError: ufw failed.

    CLI example::

        salt fw ufw.load
    """
    text = CONFIGURATION.read_text(encoding="utf-8")
    text = re.sub(r"^ENABLED=.*$", "ENABLED=yes", text, flags=re.MULTILINE)
    file.put(CONFIGURATION, text)
    _ufw("reload")  # unlike `ufw enable` it completes what is half there
    _ufw("logging", logging)
    LOADED.touch()


def _rules() -> list[ufw.Rule]:
    return ufw.added(_said(_contents(*RULES), "show", "added"))


def _contents(*names: str) -> str:
    paths = [Path(name) for name in names]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths if path.exists())


def _said(facts: str, *question: str) -> str:
    """Return ufw's answer; it is asked again only when the facts it answers from are others.

    Each start of ufw costs a tenth of a second of processor time, two of them a tenth of what a
    host needs for an apply without changes.
    """
    digest = hashlib.sha256(facts.encode()).hexdigest()
    kept = SAID.with_name(f"{SAID.name}-{question[0]}")
    before, _, answer = (
        kept.read_text(encoding="utf-8").partition("\n") if kept.exists() else ("",) * 3
    )
    if before != digest:
        answer = _ufw(*question)
        file.put(kept, f"{digest}\n{answer}", 0o600)
    return answer


def _change(*arguments: str) -> None:
    """Change a rule: ufw does it in the files and, where it is loaded, in the kernel."""
    whole = not unloaded()
    _ufw(*arguments)
    if whole:
        LOADED.touch()


def _parse(rule: str) -> ufw.Rule:
    return ufw.added(f"ufw {rule}")[0]


def _ufw(*arguments: str) -> str:
    """Run ufw in English and return what it says."""
    command = ["ufw", *arguments]
    result = __salt__["cmd.run_all"](command, python_shell=False, env={"LC_ALL": "C"})
    if result["retcode"] != 0:
        said = result["stderr"] or result["stdout"]
        raise CommandExecutionError(f"{shlex.join(command)}: {said}")
    return str(result["stdout"])
