"""Ensure that the application of this host, its web server and its database answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from salina.common import commands, file, https, prediction, state
from salina.common import wait as waiting

__salt__: dict[str, Any]
__opts__: dict[str, Any]
__states__: dict[str, Any]

EVERYWHERE = ("0.0.0.0", "::")
"""The addresses of a service that listens on all of a host's."""


@state.fails_plainly
def database_answers(name: str, wait: int) -> dict[str, Any]:
    """Wait until the application's database takes writes.

    Args:
        name: the database's name, for the message.
        wait: seconds to wait at most.

    Returns:
        The state's result. It fails if the database takes no writes in time.

    CLI Example:
        See salt/application/database.sls.
    """
    return _wait(name, __salt__["application.database"], wait, f"the database {name}")


@state.fails_plainly
def reconfigured(
    name: str,
    settings: list[str],
    code: list[str],
    release: str,
    turn: str,
) -> dict[str, Any]:
    """Ensure that a running service has read its settings, before a state waits for another host.

    A service that fills the pool of the database's connections frees it only by its restart, so
    this restart must not wait for the database.

    The service is left alone if its code is about to change, or has changed since it started: new
    code must not start before its one-time steps. `daemon.current` restarts it after these.

    Args:
        name: the service. A stopped service is left alone.
        settings: the files that it reads when it starts, without its code.
        code: files that are newer than a service which runs older code.
        release: the name of the release that it must run.
        turn: the role whose hosts take turns for the restart.

    Returns:
        The result of `daemon.current`.

    CLI Example:
        See salt/odoo/configuration.sls.
    """
    pending = __salt__["application.pending_code"](name, code, release)
    predicted = prediction.expected(state.before(), name, code, [], reloads=False)
    pending = pending or (f"{', '.join(predicted)} would change" if predicted else "")
    if pending:
        comment = f"{name} takes its settings together with its code, because {pending}"
        return state.result(name, True, comment)
    ret: dict[str, Any] = __states__["daemon.current"](name, settings, restart=True, turn=turn)
    return ret


@state.fails_plainly
def healthy(name: str, log: str, wait: int, cookie: str | None = None) -> dict[str, Any]:
    """Wait until the application answers.

    Args:
        name: its health URL on this host.
        log: the path of its log, for whoever asks why it does not answer.
        wait: seconds to wait at most.
        cookie: NAME=VALUE, for an application that creates a session for each visitor without one.

    Returns:
        The state's result. It fails if the application does not answer in time.

    CLI Example:
        See salt/odoo/service.sls.
    """

    def obstacle() -> str:
        __salt__["turn.renew"]()
        found = __salt__["application.health"](name, cookie)
        return f"{found} (see {log})" if found else ""

    return _wait(name, obstacle, wait, name)


@state.fails_plainly
def listening(name: str, address: str, port: int) -> dict[str, Any]:
    """Ensure that a service does not listen on every address instead of one, or restart it.

    A reload cannot move it from all addresses to one. Use this state before `service.running`,
    which starts a stopped service, and before the reload, which brings any other address.

    Args:
        name: the service.
        address: the address to listen on.
        port: the TCP port.

    Returns:
        The state's result. It fails if the restart fails, or does not help.

    CLI Example:
        See salt/nginx/service.sls.
    """
    where = f"{address} port {port}"
    if __salt__["application.listening"](address, port):
        return state.result(name, True, f"it listens on {where}")
    if not __salt__["service.status"](name):
        return state.result(name, True, f"{name} is stopped, and will listen on {where}")
    if not any(__salt__["application.listening"](every, port) for every in EVERYWHERE):
        return state.result(name, True, f"{name} will listen on {where} when it reloads")
    changes = {prediction.RESTART: name, "listening": {"old": None, "new": where}}
    if __opts__["test"]:
        return state.result(name, None, f"it would be restarted to listen on {where}", changes)
    commands.systemctl(__salt__, "restart", name)
    if not __salt__["application.listening"](address, port):
        fault = f"it succeeded, but {name} does not listen on {where} (see journalctl -u {name})"
        return state.result(name, False, f"systemctl restart {name}: {fault}")
    return state.result(name, True, f"it was restarted and listens on {where}", changes)


@state.fails_plainly
def open_to_older(
    name: str, configuration: str, address: str, port: int, balancers: list[str]
) -> dict[str, Any]:
    """Ensure that nginx keeps its port without TLS while balancers of an earlier version use it.

    A host that never had this port open does not open it. The port closes when every balancer has
    asked over TLS only for two minutes.

    Args:
        name: the file with nginx's directive, which the configuration includes.
        configuration: nginx's configuration. An earlier version has the directive itself.
        address: the host's address.
        port: the TCP port.
        balancers: the ids of all balancers.

    Returns:
        The state's result.

    CLI Example:
        See salt/nginx/configuration.sls.
    """
    files = [name, configuration]
    older = __salt__["application.older_balancers"](files, address, port, balancers)
    listen = f"listen {https.host_port(address, port)} default_server;\n" if older else ""
    wanted = f"# Managed by Salt (salt/nginx).\n{listen}"
    words = f"port {port} is open without TLS for {', '.join(older)}" if older else "it is closed"
    if Path(name).exists() and Path(name).read_text() == wanted:
        return state.result(name, True, words)
    changes = {"port": words}
    if __opts__["test"]:
        return state.result(name, None, f"it would be written, so that {words}", changes)
    file.put(name, wanted)
    return state.result(name, True, words, changes)


def _wait(name: str, obstacle: Callable[[], str], wait: int, what: str) -> dict[str, Any]:
    """Return the result of a state that waits; a prediction asks only once."""
    if not __opts__["test"]:
        waiting.clear(obstacle, wait, what)
        return state.result(name, True, f"{what} answers")
    found = obstacle()
    if found:
        return state.note(name, f"it would wait for {what}: {found}")
    return state.result(name, True, f"{what} answers")
