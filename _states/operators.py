"""Ensure that the operators have their accounts, and that nobody else has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def settled(name: str, accounts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Ensure that each operator has an account with these keys and groups, until its last day.

    An operator who is not listed any more loses the keys, the groups and the sessions. The account
    itself stays, expired, because files belong to it.

    Args:
        name: free text.
        accounts: the accounts (pillar `operators.accounts`).

    Returns:
        The state's result. It fails if another account has the name of an operator; all others are
        settled nevertheless, since an access that ends must not wait for that.

    CLI Example:
        See salt/operators/init.sls.
    """
    faults = __salt__["operators.faults"](accounts)
    changes = __salt__["operators.plan"](accounts)
    if changes and __opts__["test"]:
        words = "\n".join(["the accounts would be changed", *faults])
        return state.result(name, False if faults else None, words, changes)
    if changes:
        __salt__["operators.settle"](accounts)
    if faults:
        return state.result(name, False, "\n".join(faults), changes)
    if not changes:
        return state.result(name, True, "the operators have their accounts")
    left = __salt__["operators.plan"](accounts)
    if left:
        words = f"these accounts are still not as they must be: {', '.join(left)}; apply again"
        return state.result(name, False, words, changes)
    return state.result(name, True, "the accounts were changed", changes)
