"""Manage ufw, the firewall of every host: its rules, its status and its activation."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

import salt.utils.path
from salt.exceptions import CommandExecutionError

from salina.common import file
from salina.firewall import many, ufw

__salt__: dict[str, Any]

FOLDER = "etc/ufw"
CONFIGURATION = Path(f"/{FOLDER}/ufw.conf")
DEFAULTS = "/etc/default/ufw"
FORWARDING = "/proc/sys/net/ipv4/ip_forward"
#: Runs several commands of ufw.
MANY = ("/usr/bin/python3", "-I", many.__file__, "/usr/sbin/ufw")
#: A part of ufw, which can also remove its chains.
INIT = "/usr/lib/ufw/ufw-init"
#: The kernel's tools, for IPv4 and IPv6.
TOOLS = ("iptables", "ip6tables")
#: ufw's files of rules, in the same order.
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


def interface(address: str) -> str:
    """Return the interface of this host that carries an address.

    Args:
        address: an address of this host.

    Returns:
        The interface's name.

    Raises:
        CommandExecutionError: no interface carries the address, or several do.

    CLI Example:
        salt fw ufw.interface 10.1.2.1
    """
    try:
        return ufw.interface(_interfaces(), address)
    except ValueError as error:
        raise CommandExecutionError(f"pillar ufw: {error}") from error


def plan(
    rules: list[dict[str, Any]], routes: list[dict[str, Any]], outgoing: list[dict[str, Any]]
) -> dict[str, list[str]]:
    """Compare ufw's rules with the planned ones. This changes nothing.

    Args:
        rules: mappings of `comment`, `proto`, `ports`, `from`, `to` and `in`, as in pillar `ufw`.
        routes: the same for packets that this host forwards, with `out`.
        outgoing: mappings of `comment`, `proto`, `ports` and `to`: connections that it opens.

    Returns:
        The rules to `add` and to `delete`; both lists are empty if nothing differs.

    Raises:
        CommandExecutionError: ufw failed, a planned rule is invalid, or this host does not have an
            address whose interface a rule needs.

    CLI Example:
        salt fw ufw.plan '[]' '[]' '[]'
    """
    try:
        want = ufw.wanted(rules, routes, outgoing, _interfaces())
    except (KeyError, ValueError) as error:
        raise CommandExecutionError(f"pillar ufw: {error}") from error
    have = _rules() if installed() else []
    add, delete = ufw.plan(have, want)
    return {"add": [str(rule) for rule in add], "delete": [str(rule) for rule in delete]}


def change(add: list[str], delete: list[str]) -> None:
    """Add rules, and delete others. A packet meets either all of the old rules or all of the new.

    ufw itself empties its chains with each rule that it deletes, before it fills them again. So it
    works on a copy of its files, and the kernel then takes the result in one step.

    Args:
        add: the rules in ufw's words; one with a new comment replaces the old comment.
        delete: rules as `ufw.rules` prints them.

    Raises:
        CommandExecutionError: ufw refused a rule; then nothing has changed.

    CLI Example:
        salt fw ufw.change "[allow 22/tcp comment 'ssh']" '[allow 99/tcp]'
    """
    whole = not unloaded()
    with tempfile.TemporaryDirectory(prefix="salina-ufw-") as copy:
        _copy(Path(copy))
        commands = [
            *(_parse(one).addition[1:] for one in add),
            *(_parse(one).deletion[1:] for one in delete),
        ]
        _run(*MANY, f"--datadir={copy}", given=json.dumps(commands))
        for name in RULES:
            changed = Path(copy, FOLDER, Path(name).name).read_text(encoding="utf-8")
            if changed != Path(name).read_text(encoding="utf-8"):
                file.put(Path(name), changed, 0o640)
    for tool, name in zip(TOOLS, RULES, strict=True):
        if ufw.has_rules(_listed(tool)):
            _run(f"{tool}-restore", "--noflush", name)
    if whole:
        LOADED.touch()


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
    file.put(CONFIGURATION, _configuration("yes"))
    if any(ufw.unused(rules) or ufw.closed_by_boot(rules) for rules in _kernel()):
        _run(INIT, "flush-all")  # ufw would load its chains, and leave them unused or behind others
    for tool in TOOLS:
        if _listed(tool):  # ufw empties its chains before it loads them: nothing else may fail then
            _run(tool, "--policy", "OUTPUT", "ACCEPT")
    _ufw("reload")  # unlike `ufw enable`, this completes a half loaded firewall
    _ufw("logging", logging)
    LOADED.touch()


def _rules() -> list[ufw.Rule]:
    return ufw.added(_said(_contents(*RULES), "show", "added"))


def _kernel() -> list[str]:
    """Return the kernel's rules for IPv4, and for IPv6 if it has that."""
    return [rules for tool in TOOLS if (rules := _listed(tool))]


def _listed(tool: str) -> str:
    """Return the kernel's rules for one of TOOLS, or "" if the host does not have its protocol."""
    found = __salt__["cmd.run_all"]([tool, "--list-rules"], python_shell=False, ignore_retcode=True)
    return str(found["stdout"]) if found["retcode"] == 0 else ""


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


def _configuration(enabled: str) -> str:
    """Return ufw's configuration, in which a boot enables ufw (`yes`) or does not (`no`)."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    return re.sub(r"^ENABLED=.*$", f"ENABLED={enabled}", text, flags=re.MULTILINE)


def _copy(target: Path) -> None:
    """Copy ufw's files, for an ufw that is inactive and so leaves the kernel alone."""
    shutil.copytree(CONFIGURATION.parent, target / FOLDER)
    (target / FOLDER / CONFIGURATION.name).write_text(_configuration("no"), encoding="utf-8")
    (target / "etc/default").mkdir()
    shutil.copy(DEFAULTS, target / "etc/default")
    (target / "lib/ufw").mkdir(parents=True)  # for ufw's lock


def _interfaces() -> dict[str, list[str]]:
    """Return the interfaces of each address of this host."""
    return ufw.interfaces(_run("ip", "-json", "address", "show"))


def _parse(rule: str) -> ufw.Rule:
    return ufw.added(f"ufw {rule}")[0]


def _ufw(*arguments: str) -> str:
    """Run ufw in English, and return its output."""
    return _run("ufw", *arguments)


def _run(*command: str, given: str | None = None) -> str:
    """Run a command in English, with this as its standard input, and return its output."""
    result = __salt__["cmd.run_all"](
        list(command), python_shell=False, env={"LC_ALL": "C"}, stdin=given
    )
    if result["retcode"] != 0:
        said = result["stderr"] or result["stdout"]
        shown = "" if command[: len(MANY)] == MANY else f"{shlex.join(command)}: "
        raise CommandExecutionError(f"{shown}{said}")
    return str(result["stdout"])
