"""Ensure that steps are done once for the whole service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]
__pillar__: dict[str, Any]


@state.fails_plainly
def done(
    name: str,
    command: list[str],
    user: str,
    cwd: str,
    stdin: str | None = None,
    env_file: str | None = None,
    env: dict[str, str] | None = None,
    secrets: dict[str, str] | None = None,
    patience: int = 900,
    leaves: dict[str, Any] | None = None,
    release: str | None = None,
) -> dict[str, Any]:
    """Ensure that a step was done once for the service, on whichever host.

    Args:
        name: the step; a new name is a new step.
        command: the program and its arguments. Other users can read them, so pass no secret here.
        user: the user who runs it.
        cwd: the working directory.
        stdin: a script that the command reads.
        env_file: a file with its environment, as systemd reads it.
        env: further variables.
        secrets: further variables, each with the key of its value in pillar `app:secrets`.
        patience: seconds to wait for the turn, and again for the command.
        leaves: the rows that the step leaves in the database; it is done again if they are missing.
        release: the directory of the release that the step belongs to. While that one waits for
            orch.upgrade, the step is not done.

    Returns:
        The state's result. It fails if the command fails; the next apply tries the step again.

    CLI Example:
        See salt/odoo/once.sls.
    """
    changes = {"once": {"old": None, "new": name}}
    if __opts__["test"]:
        obstacle = __salt__["application.database"]()
        if obstacle:
            return state.note(name, f"it would be done, unless it was already: {obstacle}")
        before = __salt__["once.done"](name, leaves)
        if before:
            return state.result(name, True, f"done by {before}")
        if release and __salt__["release.complete"](release) and _waits(release):
            return state.result(name, True, _waits(release))
        comment = "this host would do it, unless another one does it before"
        return state.result(name, None, comment, changes)
    if release and (why := _waits(release)):
        return state.result(name, True, why)
    given = __pillar__["app"]["secrets"]
    environment = (env or {}) | {name: given[key] for name, key in (secrets or {}).items()}
    before = __salt__["once.run"](
        name, command, user, cwd, stdin, environment, env_file, patience, leaves
    )
    if before:
        return state.result(name, True, f"done by {before}")
    return state.result(name, True, "this host did it for the whole service", changes)


def _waits(release: str) -> str:
    """Return that a release waits for orch.upgrade, or ""."""
    waits = __salt__["release.due"]()["waits"]
    return f"it belongs to release {Path(release).name}, which waits" if waits else ""
