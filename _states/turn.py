"""End the turn of a host at the end of an apply."""

from __future__ import annotations

from typing import Any

from salina.common import prediction, state

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def ended(name: str) -> dict[str, Any]:
    """Ensure that this host does not have a turn any more, and serves requests again.

    Make it the last state of a host, without requisites, so it also runs when other states failed.

    Args:
        name: free text.

    Returns:
        The state's result. It fails if the balancers send no requests to the host.

    CLI Example:
        See salt/common/turn.sls.
    """
    # a predicted restart takes its turn only in the real run
    taken = [one["changes"].get(prediction.TURN) for one in state.before().values()]
    predicted = filter(None, taken) if __opts__["test"] else ()
    roles = ", ".join(sorted({*__salt__["turn.held"](), *predicted}))
    if not roles:
        return state.result(name, True, "this host has no turn")
    changes = {"turn": {"old": roles, "new": None}}
    if __opts__["test"]:
        return state.result(name, None, f"the turn of this host ({roles}) would end", changes)
    failure = __salt__["turn.end"]()
    if failure:
        return state.result(name, False, f"the turn of this host has failed: {failure}")
    return state.result(name, True, "this host serves again, and its turn has ended", changes)
