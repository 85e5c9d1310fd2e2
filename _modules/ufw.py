"""Manage ufw, the firewall of every host: its rules, its status and its activation."""

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
#: A part of ufw, which can also remove its chains.
INIT = "/usr/lib/ufw/ufw-init"
#: ufw's files of rules.
RULES = ("/etc/ufw/user.rules", "/etc/ufw/user6.rules")
#: All files from which ufw loads the kernel.
FILES = (
    DEFAULTS,
    *(f"/etc/ufw/{name}" for name in ("sysctl.conf", "before.rules", "before6.rules")),
    *RULES,
)
#: Written after all of them have been loaded. A boot loads all of them, and deletes this file.
LOADED = Path("/run/salina-ufw-loaded")
#: ufw's last answer, with a digest of the facts behind it.
SAID = Path("/run/salina-ufw-said")


def installed() -> bool:
    """Return whether this host has ufw.

    Returns:
        Whether the program exists.

    CLI Example:
        salt fw ufw.installed
    """
    return salt.utils.path.which("ufw") is not None


def rules() -> list[str]:
    """Return ufw's rules, also while it is inactive.

    Returns:
        The rules as ufw prints them.

    Raises:
        CommandExecutionError: ufw failed.

    CLI Example:
        salt fw ufw.rules
    """
    return [str(rule) for rule in _rules()]


def plan(rules: list[dict[str, str]], routes: list[dict[str, str]]) -> dict[str, list[str]]:
    """Compare ufw's rules with the planned ones. This changes nothing.

    Args:
        rules: mappings of `comment`, `proto`, `ports`, `from` and `to`, as in pillar `ufw`.
        routes: the same for packets that this host forwards.

    Returns:
        The rules to `add` and to `delete`; both lists are empty if nothing differs.

    Raises:
        CommandExecutionError: ufw failed, or a planned rule is invalid.

    CLI Example:
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
    """Add a rule, or change the comment of an existing one.

    Args:
        rule: the rule in ufw's words.

    Raises:
        CommandExecutionError: ufw refused it.

    CLI Example:
        salt fw ufw.add "allow from 10.1.5.2 to any port 22 proto tcp comment 'ssh'"
    """
    _change(*_parse(rule).addition[1:])


def delete(rule: str) -> None:
    """Delete a rule.

    Args:
        rule: the rule as `ufw.rules` prints it.

    Raises:
        CommandExecutionError: ufw refused.

    CLI Example:
        salt fw ufw.delete "allow 22/tcp"
    """
    _change(*_parse(rule).deletion[1:])


def status() -> dict[str, Any]:
    """Return the status of the firewall as a whole.

    Returns:
        `active`, `boot` (whether a boot activates it), `logging`, and the policies `incoming`,
        `outgoing` and `routed`. `routed` is `disabled` if the kernel does not forward packets. A
        firewall is not active if somebody took its rules out of the kernel, whatever ufw says.

    Raises:
        CommandExecutionError: ufw failed.

    CLI Example:
        salt '*' ufw.status
    """
    kernel = _kernel()
    files = _contents(str(CONFIGURATION), DEFAULTS, FORWARDING)
    found = ufw.status(_said("\n".join([*kernel, files]), "status", "verbose"))
    used = all(ufw.closed(rules) and not ufw.unused(rules) for rules in kernel)
    boot = re.search(r"^ENABLED=yes$", CONFIGURATION.read_text(encoding="utf-8"), re.MULTILINE)
    return {"boot": boot is not None, **dataclasses.asdict(found), "active": found.active and used}


def files() -> list[str]:
    """Return ufw's files, which the kernel has to have.

    Returns:
        The files' paths.

    CLI Example:
        salt fw ufw.files
    """
    return list(FILES)


def unloaded() -> list[str]:
    """Return ufw's files that the kernel may not have: all of them, if loading was interrupted.

    ufw itself cannot tell: when half of it is loaded, it says "active" or fails.

    Returns:
        The files' paths.

    CLI Example:
        salt fw ufw.unloaded
    """
    if not LOADED.exists():
        at_boot = __salt__["service.status"]("ufw")
        return __salt__["daemon.outdated"]("ufw", FILES) if at_boot else list(FILES)
    moment = LOADED.stat().st_mtime
    return [name for name in FILES if Path(name).exists() and Path(name).stat().st_mtime > moment]


def load(logging: str = "low") -> None:
    """Activate the firewall with all of its files, now and at every boot. The files must exist.

    Args:
        logging: `off`, `low`, `medium`, `high` or `full`.

    Raises:
        CommandExecutionError: ufw failed.

    CLI Example:
        salt fw ufw.load
    """
    text = CONFIGURATION.read_text(encoding="utf-8")
    text = re.sub(r"^ENABLED=.*$", "ENABLED=yes", text, flags=re.MULTILINE)
    file.put(CONFIGURATION, text)
    if any(ufw.unused(rules) or ufw.closed_by_boot(rules) for rules in _kernel()):
        _run(INIT, "flush-all")  # ufw would load its chains, and leave them unused or behind others
    _ufw("reload")  # unlike `ufw enable`, this completes a half loaded firewall
    _ufw("logging", logging)
    LOADED.touch()


def _rules() -> list[ufw.Rule]:
    return ufw.added(_said(_contents(*RULES), "show", "added"))


def _kernel() -> list[str]:
    """Return the kernel's rules for IPv4, and for IPv6 if it has that."""
    tools = ("iptables", "ip6tables")
    found = [
        __salt__["cmd.run_all"]([tool, "--list-rules"], python_shell=False, ignore_retcode=True)
        for tool in tools
    ]
    return [one["stdout"] for one in found if one["retcode"] == 0]


def _contents(*names: str) -> str:
    paths = [Path(name) for name in names]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths if path.exists())


def _said(facts: str, *question: str) -> str:
    """Return ufw's answer. Ask ufw again only if the facts behind the answer have changed.

    Each start of ufw costs a tenth of a second of processor time. Two starts cost a tenth of an
    apply without changes.
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
    """Change a rule. ufw changes its files and, if it is active, the kernel."""
    whole = not unloaded()
    _ufw(*arguments)
    if whole:
        LOADED.touch()


def _parse(rule: str) -> ufw.Rule:
    return ufw.added(f"ufw {rule}")[0]


def _ufw(*arguments: str) -> str:
    """Run ufw in English and return its output."""
    return _run("ufw", *arguments)


def _run(*command: str) -> str:
    """Run a command in English and return its output."""
    result = __salt__["cmd.run_all"](list(command), python_shell=False, env={"LC_ALL": "C"})
    if result["retcode"] != 0:
        said = result["stderr"] or result["stdout"]
        raise CommandExecutionError(f"{shlex.join(command)}: {said}")
    return str(result["stdout"])
