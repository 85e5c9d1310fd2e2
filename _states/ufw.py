"""Ensure that ufw is active and has exactly the pillar's rules."""

from __future__ import annotations

from typing import Any

from salina.common import prediction, state

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def rules(
    name: str,
    rules: list[dict[str, Any]],
    routes: list[dict[str, Any]],
    outgoing: list[dict[str, Any]],
) -> dict[str, Any]:
    """Ensure that ufw has these rules and no others, whether it is active or not.

    Args:
        name: free text.
        rules: mappings of `comment`, `proto`, `ports`, `from`, `to` and `in`, as in pillar `ufw`.
        routes: the same for packets that this host forwards, with `out`.
        outgoing: mappings of `comment`, `proto`, `ports` and `to`: connections that it opens.

    Returns:
        The state's result. It fails, and changes no rule, if ufw refuses one, or if this host does
        not have an address of the pillar.

    CLI Example:
        See salt/ufw/init.sls.
    """
    plan = __salt__["ufw.plan"](rules, routes, outgoing)
    changes = {what: found for what, found in plan.items() if found}
    if not changes:
        return state.result(name, True, "the rules are up to date")
    if __opts__["test"]:
        return state.result(name, None, "the rules would be changed", changes)
    __salt__["ufw.change"](plan["add"], plan["delete"])
    left = __salt__["ufw.plan"](rules, routes, outgoing)
    if any(left.values()):
        return state.result(name, False, f"the rules still differ from pillar ufw: {left}", changes)
    return state.result(name, True, "the rules were changed", changes)


@state.fails_plainly
def enabled(name: str, forward: bool, logging: str) -> dict[str, Any]:
    """Ensure that the firewall is active, now and after a boot, with all of its files loaded.

    These files set the policies and the kernel's forwarding; other states write them before.

    Args:
        name: free text.
        forward: whether this host forwards the packets that its routes allow.
        logging: `off`, `low`, `medium`, `high` or `full`.

    Returns:
        The state's result. It fails if ufw fails.

    CLI Example:
        See salt/ufw/init.sls.
    """
    want = _wanted(forward, logging)
    if __opts__["test"] and not __salt__["ufw.installed"]():
        return state.result(
            name, None, "the firewall would be loaded", {"active": {"old": None, "new": True}}
        )
    unloaded = __salt__["ufw.unloaded"]()
    if __opts__["test"]:  # the states before this one would write some of the files
        files = __salt__["ufw.files"]()
        unloaded = prediction.expected(state.before(), name, files, unloaded, reloads=False)
    changes = {"loaded": unloaded} if unloaded else _differences(__salt__["ufw.status"](), want)
    if not changes:
        return state.result(name, True, "the firewall is active")
    if __opts__["test"]:
        return state.result(name, None, "the firewall would be loaded", changes)
    __salt__["ufw.load"](logging)
    left = _differences(__salt__["ufw.status"](), want)
    if left:
        return state.result(name, False, f"the firewall still differs: {left}", changes)
    return state.result(name, True, "the firewall was loaded", changes)


def _wanted(forward: bool, logging: str) -> dict[str, Any]:
    """Return what `ufw.status` must answer."""
    return {
        "active": True,
        "boot": True,
        "logging": logging,
        "incoming": "deny",
        "outgoing": "deny",
        "routed": "deny" if forward else "disabled",
    }


def _differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the differences between two answers of `ufw.status`."""
    return {key: {"old": old[key], "new": new[key]} for key in new if old[key] != new[key]}
