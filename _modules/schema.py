"""Compare the release that this host's application has with the one that its database belongs to.

The database names that release, and the checksums of its parts (salina.application.schema).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.application import release, schema
from salina.application.database import session
from salina.common import pillars
from salina.database.psql import PsqlError, Session

__salt__: dict[str, Any]
__pillar__: dict[str, Any]


def recorded() -> dict[str, Any]:
    """Return the release that the application's database belongs to.

    Returns:
        `release`, its name, and `parts` with their checksums; {} if the database names none.

    Raises:
        CommandExecutionError: the database does not answer, or names something else.

    CLI Example:
        salt s1 schema.recorded
    """
    return dict(_asked(schema.recorded))


def record(directory: str, before: str = "") -> bool:
    """Record in the application's database that it belongs to a release.

    Args:
        directory: the release's directory.
        before: the release that the database names now, or "".

    Returns:
        False if the database said so before.

    Raises:
        CommandExecutionError: the database does not answer, takes no writes, or names another
            release than `before`.

    CLI Example:
        salt s1 schema.record /opt/odoo/releases/c0ffee000000-0123abcd
    """
    name = Path(directory).name
    if recorded().get("release") == name:
        return False
    parts = _parts(directory)
    _asked(lambda opened: schema.record(opened, name, parts, before))
    return True


def obstacle(directory: str, database: str = "") -> dict[str, Any]:
    """Return why the database does not fit a release, and which release it belongs to.

    Args:
        directory: the release's directory.
        database: the name of a copy, which is asked instead.

    Returns:
        `differing`: the parts that differ, such as modules of Odoo; none if the database fits, or
        if no application has used it yet. `release`: the one that it belongs to, "" if it is not
        known. `recorded`: whether the database itself says so.

    Raises:
        CommandExecutionError: the database does not answer; or it was used, does not say which
            release it belongs to, and this host runs none.

    CLI Example:
        salt s1 schema.obstacle /opt/odoo/releases/c0ffee000000-0123abcd
    """
    found = _asked(schema.recorded, database)
    used = bool(found) or _asked(schema.used, database, False)
    name = found.get("release", "")
    if name == Path(directory).name:
        return {"release": name, "differing": [], "recorded": True}
    if not found and not used:
        return {"release": "", "differing": [], "recorded": False}
    before = found.get("parts")
    if before is None:  # a database from before there were records belongs to the code that runs
        runs = Path(release.production(_kind()))
        if not runs.exists():
            raise CommandExecutionError(_unknown(directory))
        name, before = release.active(runs), _parts(str(runs))
    differing = __salt__[f"{_kind()}.differing"](before, _parts(directory), database)
    return {"release": name, "differing": differing, "recorded": bool(found)}


def unknown(directory: str) -> str:
    """Return that nothing says to which release the database belongs, although it was used.

    That is so for a moment while another host does the one-time steps of a new application.

    Args:
        directory: the directory of the release that this host would run, as its first one.

    Returns:
        The reason and the next command, or "".

    Raises:
        CommandExecutionError: the database does not answer.

    CLI Example:
        salt s1 schema.unknown /opt/odoo/releases/c0ffee000000-0123abcd
    """
    if _asked(schema.recorded) or not _asked(schema.used, record=False):
        return ""
    return _unknown(directory)


def _unknown(directory: str) -> str:
    return (
        "the database does not say which release it belongs to, and this host runs none; "
        "apply the states of a host that runs the application. If there is none, this says "
        f"that it is the new one: salt-call schema.record {directory}"
    )


def _asked(question: Callable[[Session], Any], database: str = "", record: bool = True) -> Any:
    """Ask the application's database, or a copy, as the role that records or as the application."""
    pillars.section(__pillar__, "app")
    try:
        with session(__pillar__, "salina: which release?", database, record) as opened:
            return question(opened)
    except (PsqlError, ValueError) as error:
        raise CommandExecutionError(
            f"the database does not say which release it belongs to: {error}"
        ) from error


def _kind() -> str:
    return str(pillars.section(__pillar__, "app")["kind"])


def _parts(directory: str) -> dict[str, str]:
    return dict(__salt__[f"{_kind()}.checksums"](directory))
