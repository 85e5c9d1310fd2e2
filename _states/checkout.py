"""Ensure that an application's code is checked out."""

from __future__ import annotations

from typing import Any

from salina.application import commits
from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def present(name: str, repository: str, revision: str) -> dict[str, Any]:
    """Ensure that a directory has a revision of a git repository checked out.

    The pillar gives a full commit, so all hosts have the same one, also after its branch has moved.
    The state itself looks a name up only when the checkout is created, and when the name changes.

    Args:
        name: the work tree.
        repository: a git URL, or the path of another checkout on this host.
        revision: a branch, tag or commit.

    Returns:
        The state's result. It fails if git fails. It also fails if files were changed by hand:
        only a new revision overwrites them.

    CLI Example:
        See salt/application/source.sls.
    """
    found = __salt__["checkout.status"](name)
    moved = commits.is_full(revision) and found["commit"] != revision  # by hand
    if found["revision"] == revision and not moved:
        if found["changed"]:
            listed = ", ".join(found["changed"][:5])
            return state.result(
                name,
                False,
                f"{name}: {len(found['changed'])} files were changed by hand ({listed}); commit "
                f"the change to {repository}, or discard it with git -C {name} reset --hard",
            )
        return state.result(name, True, f"it is at {revision} ({found['commit'][:12]})")
    changes = {"revision": {"old": found["revision"] or None, "new": revision}}
    if __opts__["test"]:
        return state.result(name, None, f"{revision} would be checked out", changes)
    commit = __salt__["checkout.update"](name, repository, revision)
    changes["commit"] = {"old": found["commit"] or None, "new": commit}
    return state.result(name, True, f"{revision} was checked out", changes)
