"""Check the application of this host: its health, its listening address and its database."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.application import agent, schema
from salina.application.database import session
from salina.common import commands, http, https, pillars
from salina.database.psql import PsqlError, installed

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

AGAIN = "salina-application-start"
"""The transient timer that starts an application again."""
RECENT = 10.0
"""Seconds in which a balancer that is up asks at least once."""


def health(url: str, cookie: str | None = None, timeout: float = 5) -> str:
    """Return why a URL does not answer with status 200, or "" if it does.

    Args:
        url: http://127.0.0.1:8069/web/health
        cookie: NAME=VALUE, for an application that creates a session for each visitor without one.
        timeout: seconds.

    Returns:
        The reason, or "".

    CLI Example:
        salt s1 application.health http://127.0.0.1:8069/web/health
    """
    return http.ask(url, {"Cookie": cookie} if cookie else {}, timeout)[0]


def listening(address: str, port: int) -> bool:
    """Return whether a service listens on exactly this address and port.

    Args:
        address: an IPv4 or IPv6 address; a service on the wildcard address does not count.
        port: the TCP port.

    Returns:
        Whether a service listens there.

    Raises:
        CommandExecutionError: `ss` failed.

    CLI Example:
        salt s1 application.listening 10.1.3.11 80
    """
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    listing = commands.run(
        __salt__["cmd.run_all"], ["ss", "--no-header", "--listening", "--numeric", "--tcp"]
    )
    return where in [line.split()[3] for line in listing.splitlines()]


def stop(seconds: int) -> None:
    """Stop the application of this host for a while. An apply of its states starts it sooner.

    So it does not stay away if the change that stopped it has died.

    Args:
        seconds: when systemd starts it again.

    Raises:
        CommandExecutionError: systemd refused.

    CLI Example:
        salt s1 application.stop 180
    """
    later(seconds)
    commands.systemctl(__salt__, "stop", pillars.section(__pillar__, "app")["kind"])


def later(seconds: int) -> None:
    """Let systemd start the application of this host after a while, unless it runs by then.

    Args:
        seconds: when.

    Raises:
        CommandExecutionError: systemd refused.

    CLI Example:
        salt s1 application.later 180
    """
    unit = pillars.section(__pillar__, "app")["kind"]
    __salt__["service.stop"](f"{AGAIN}.timer")  # of an earlier change
    timer = ["systemd-run", "--collect", f"--unit={AGAIN}", f"--on-active={seconds}"]
    commands.run(__salt__["cmd.run_all"], [*timer, "systemctl", "start", unit])


def start() -> None:
    """Start the application of this host now, and not later as `application.stop` arranged.

    Raises:
        CommandExecutionError: systemd refused.

    CLI Example:
        salt s1 application.start
    """
    __salt__["service.stop"](f"{AGAIN}.timer")
    commands.systemctl(__salt__, "start", pillars.section(__pillar__, "app")["kind"])


def halt() -> None:
    """Stop the application of this host until somebody starts it.

    Raises:
        CommandExecutionError: systemd refused.

    CLI Example:
        salt s1 application.halt
    """
    unit = pillars.section(__pillar__, "app")["kind"]
    __salt__["service.stop"](f"{AGAIN}.timer")
    commands.systemctl(__salt__, "stop", unit)


def stopped() -> int:
    """Return when the application of this host stopped.

    Returns:
        Microseconds of the host's own clock since its boot.

    Raises:
        CommandExecutionError: it runs.

    CLI Example:
        salt s1 application.stopped
    """
    unit = pillars.section(__pillar__, "app")["kind"]
    if __salt__["service.status"](unit):
        raise CommandExecutionError(f"{unit} runs")
    show = ["systemctl", "show", "--property=InactiveEnterTimestampMonotonic", "--value", unit]
    return int(commands.run(__salt__["cmd.run_all"], show))


def hold(since: int) -> None:
    """Let a stopped application stay stopped until somebody starts it.

    Args:
        since: when it stopped, as `application.stopped` said.

    Raises:
        CommandExecutionError: it ran meanwhile.

    CLI Example:
        salt s1 application.hold 12345678
    """
    __salt__["service.stop"](f"{AGAIN}.timer")
    if stopped() != since:
        raise CommandExecutionError(
            "the application ran meanwhile, so users may have changed something"
        )


def older_balancers(files: list[str], address: str, port: int, balancers: list[str]) -> list[str]:
    """Return the balancers for which nginx has to keep its port without TLS open.

    A host that never had the port open needs it for none. Otherwise the health agent knows the
    balancers that ask over TLS only, from their checks. Without an agent it may be none of them.

    Args:
        files: nginx's files, of this version and of an earlier one.
        address: this host's address.
        port: the port without TLS.
        balancers: the ids of all balancers.

    Returns:
        The ids of the balancers that have not asked over TLS only, in the last two minutes.

    CLI Example:
        salt s1 application.older_balancers '[/etc/nginx/nginx.conf]' 10.1.3.11 80 '[lb1]'
    """
    opened = f"listen {https.host_port(address, port)} default_server;"
    texts = [path.read_text() for path in map(Path, files) if path.exists()]
    if ipaddress.ip_address(address).is_loopback or not any(opened in text for text in texts):
        return []
    try:
        return agent.older(agent.ask(), balancers, RECENT)
    except (OSError, ValueError):
        return list(balancers)


def pending_code(name: str, code: list[str], release: str) -> str:
    """Return why a restart of a service now would not start the code that it runs, or "".

    Args:
        name: the service.
        code: files that are newer than a service which runs older code.
        release: the name of the release that it must run.

    Returns:
        The reason, or "".

    CLI Example:
        salt s1 application.pending_code odoo '[]' c0ffee000000-0123abcd
    """
    runs = __salt__["release.active"]()
    if release not in (runs, __salt__["release.waits"]()):
        return f"its release will change from {runs or 'none'} to {release}"
    newer = __salt__["daemon.outdated"](name, code)
    return f"{', '.join(newer)} changed" if newer else ""


def database() -> str:
    """Return why the application's database takes no writes, or "" if it does.

    The question takes a path that the application cannot fill, so it has an answer while
    pgbouncer's pool is full. The health agent asks on the application's own path.

    Returns:
        The reason, or "".

    CLI Example:
        salt s1 application.database
    """
    if not installed():
        return "psql is not installed"
    try:
        with session(__pillar__, "salina: does it answer?") as opened:
            if opened.query("SELECT pg_is_in_recovery()") != ["f"]:
                return "it is a replica: read-only"
        with session(__pillar__, "salina: is its release known?", record=True) as opened:
            return schema.missing(opened)
    except PsqlError as error:
        return str(error)
