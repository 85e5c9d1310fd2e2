"""Conditions of an application host.

Its code, its configuration, its database, its health, and what is done once for the service.
"""

from __future__ import annotations

from typing import Any

from salina.common import command as salina_command
from salina.common import state
from salina.common import wait as salina_wait

__virtualname__ = "application"
__salt__: dict[str, Any]
__states__: dict[str, Any]
__opts__: dict[str, Any]
__pillar__: dict[str, Any]


def __virtual__() -> str:
    return __virtualname__


@state.fails_plainly
def checked_out(name: str, repository: str, revision: str) -> dict[str, Any]:
    """Ensure that a directory has a revision of a git repository checked out.

    What a name stands for is looked up when the checkout is made and when the name changes: a
    branch that moves upstream changes nothing by itself under a running service.

    Args:
        name: the work tree.
        repository: a git URL, or the path of another checkout on this host.
        revision: branch, tag or commit.

    Fails:
        git failed. Local changes are never overwritten for another reason than a new revision:
        they are an error that says what to do.

    CLI example: see ``salt/application/source.sls``.
    """
    found = __salt__["application.checked_out"](name)
    if found["revision"] == revision:
        if found["changed"]:
            listed = ", ".join(found["changed"][:5])
            return _ret(
                name,
                False,
                f"{len(found['changed'])} files were changed by hand ({listed}): bring the change "
                f"into {repository}, or drop it with git -C {name} reset --hard",
            )
        return _ret(name, True, f"it is at {revision} ({found['commit'][:12]})")
    changes = {"revision": {"old": found["revision"] or None, "new": revision}}
    if __opts__["test"]:
        return _ret(name, None, f"{revision} would be checked out", changes)
    commit = __salt__["application.check_out"](name, repository, revision)
    changes["commit"] = {"old": found["commit"] or None, "new": commit}
    return _ret(name, True, f"{revision} was checked out", changes)


@state.fails_plainly
def apt_release(name: str) -> dict[str, Any]:
    """Ensure that another Debian release can be asked for, at this host's own mirror.

    It is asked for only what is in no other source: its priority is 100.

    Args:
        name: its code name.

    CLI example: see ``salt/odoo/python.sls``.
    """
    files = {
        f"/etc/apt/preferences.d/{name}.pref": (
            f"Package: *\nPin: release n={name}\nPin-Priority: 100\n"
        ),
        f"/etc/apt/sources.list.d/{name}.sources": __salt__["application.apt_source"](name),
    }
    changes = {}
    for path, contents in files.items():
        result = __states__["file.managed"](path, contents=contents, mode="0644")
        if result["result"] is False:
            return result | {"name": name}
        if result["changes"]:
            changes[path] = result["changes"]
    if changes and not __opts__["test"]:
        __salt__["pkg.refresh_db"](failhard=True)
    result = None if changes and __opts__["test"] else True
    return _ret(name, result, f"packages of {name} can be installed", changes)


@state.fails_plainly
def odoo_configured(name: str, user: str) -> dict[str, Any]:
    """Ensure that odoo.conf is what pillar and processors of this host make of it.

    Args:
        name: its path.
        user: the group that may read it.

    CLI example: see ``salt/odoo/configuration.sls``.
    """
    ret: dict[str, Any] = __states__["file.managed"](
        name,
        contents=__salt__["application.odoo_configuration"](),
        user="root",
        group=user,
        mode="0640",
        makedirs=True,
        show_changes=False,
    )
    return ret


@state.fails_plainly
def database_answers(name: str, wait: int) -> dict[str, Any]:
    """Wait until the application's database takes writes, by the application's own way to it.

    Args:
        name: the database, for the message.
        wait: seconds at most.

    CLI example: see ``salt/application/database.sls``.
    """
    return _wait(name, lambda: __salt__["application.database"](), wait, f"the database {name}")


@state.fails_plainly
def healthy(name: str, wait: int, cookie: str | None = None) -> dict[str, Any]:
    """Wait until the application answers.

    Args:
        name: its health URL on this host.
        wait: seconds at most.
        cookie: what keeps the question from making a session.

    CLI example: see ``salt/odoo/service.sls``.
    """
    return _wait(name, lambda: __salt__["application.health"](name, cookie), wait, name)


@state.fails_plainly
def listening(name: str, address: str, port: int) -> dict[str, Any]:
    """Ensure that a service listens on an address; restart it where it doesn't.

    For a service which a reload does not bring to another address.

    Args:
        name: the service.
        address: where it listens, and nowhere else.
        port: the TCP port.

    CLI example: see ``salt/nginx/init.sls``.
    """
    where = f"{address} port {port}"
    if __salt__["application.listening"](address, port):
        return _ret(name, True, f"it listens on {where}")
    changes = {"listening": {"old": None, "new": where}}
    if __opts__["test"]:
        return _ret(name, None, f"would be restarted to listen on {where}", changes)
    salina_command.systemctl(__salt__, "restart", name)
    if not __salt__["application.listening"](address, port):
        fault = f"done, but it doesn't listen on {where} (journalctl -u {name})"
        return _ret(name, False, f"systemctl restart {name}: {fault}")
    return _ret(name, True, f"it was restarted and listens on {where}", changes)


@state.fails_plainly
def once(
    name: str,
    command: list[str],
    user: str,
    cwd: str,
    stdin: str | None = None,
    env_file: str | None = None,
    env: dict[str, str] | None = None,
    secrets: dict[str, str] | None = None,
    patience: int = 900,
) -> dict[str, Any]:
    """Ensure that a step was done once for the service, whichever host does it.

    Args:
        name: the step; a new name is a new step.
        command: argv. No secrets here: others can read it.
        user: who runs it.
        cwd: where.
        stdin: a script for it to read.
        env_file: file with its environment, as for systemd.
        env: further environment.
        secrets: further environment: name -> key of pillar ``app:secrets``.
        patience: see ``application.once``.

    Fails:
        it failed and stays undone; the next apply tries again.

    CLI example: see ``salt/odoo/once.sls``.
    """
    changes = {"once": {"old": None, "new": name}}
    if __opts__["test"]:
        unknown = __salt__["application.database"]()
        before = "" if unknown else __salt__["application.done"](name)
        if before:
            return _ret(name, True, f"done by {before}")
        return _ret(name, None, "would be done here, or seen to be done elsewhere", changes)
    given = __pillar__["app"]["secrets"]
    environment = (env or {}) | {name: given[key] for name, key in (secrets or {}).items()}
    before = __salt__["application.once"](
        name, command, user, cwd, stdin, environment, env_file, patience
    )
    if before:
        return _ret(name, True, f"done by {before}")
    return _ret(name, True, "done here, for the whole service", changes)


def _wait(name: str, obstacle: Any, wait: int, what: str) -> dict[str, Any]:
    """The state that waits; a prediction only looks."""
    if __opts__["test"]:
        found = obstacle()
        return _ret(name, None if found else True, f"would be waited for: {found}" if found else "")
    salina_wait.clear(obstacle, wait, what)
    return _ret(name, True, f"{what} answers")


def _ret(
    name: str, result: bool | None, comment: str, changes: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"name": name, "result": result, "comment": comment, "changes": changes or {}}
