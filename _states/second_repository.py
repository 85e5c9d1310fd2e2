"""Ensure that a backup host without backups gets those of the second place."""

from __future__ import annotations

from typing import Any

from salina.backup import second
from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def fetched(name: str) -> dict[str, Any]:
    """Ensure that every repository that the second place has is on this host as well.

    Require it before a repository is created: a new one would take the place of the good mirror.
    The place is asked about repositories that are new here, and no others.

    Args:
        name: free text.

    Returns:
        The state's result. It fails if the place does not answer, or has another repository.

    CLI Example:
        See salt/second_repository/init.sls.
    """
    unmarked = __salt__["second_repository.unmarked"]()
    if not unmarked:
        return state.result(name, True, "the repositories are here")
    if not __opts__["test"]:
        back = __salt__["second_repository.lost"]()
        __salt__["second_repository.fetch"]()
        changes = {"brought back": back} if back else {"new": unmarked}
        return state.result(name, True, _words("came back", back), changes)
    if not __salt__["file.file_exists"](second.SETTINGS):
        return state.note(name, "the second place will be asked for what this host has lost")
    lost = __salt__["second_repository.lost"]()
    changes = {"brought back": lost} if lost else {"new": unmarked}
    return state.result(name, None, _words("would come back", lost), changes)


def _words(verb: str, back: list[str]) -> str:
    return f"{', '.join(back)} {verb}" if back else "the second place has no backups yet"
