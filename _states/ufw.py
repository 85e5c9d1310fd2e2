"""Keep ufw's rules exactly as the pillar has them, and the firewall on."""

from __future__ import annotations

from typing import Any

from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def rules(name: str, rules: list[dict[str, str]], routes: list[dict[str, str]]) -> dict[str, Any]:
    """Ensure that ufw has these rules and no others, whether it is active or not.

    Args:
        name: anything.
        rules: ``{comment, proto, ports, from, to}`` each, from pillar ``ufw``.
        routes: the same for packets that pass through this host.

    Returns:
        The usual dictionary of a state.

    Fails:
        ufw refused a rule.

    CLI Example:
        See salt/ufw/init.sls.
    """
    plan = __salt__["ufw.plan"](rules, routes)
    changes = {what: found for what, found in plan.items() if found}
    if not changes:
        return _result(name, True, {}, "the rules are as the pillar has them")
    if __opts__["test"]:
        return _result(name, None, changes, "the rules would be changed")
    for rule in plan["add"]:
        __salt__["ufw.add"](rule)
    for rule in plan["delete"]:
        __salt__["ufw.delete"](rule)
    left = __salt__["ufw.plan"](rules, routes)
    if any(left.values()):
        return _result(name, False, changes, f"ufw still differs from the pillar: {left}")
    return _result(name, True, changes, "the rules were changed")


@state.fails_plainly
def enabled(name: str, forward: bool, logging: str) -> dict[str, Any]:
    """Ensure that the firewall is on, now and after a boot, with all of its files in the kernel.

    The policies and the kernel's forwarding are in those files, written before this state.

    Args:
        name: anything.
        forward: whether this host passes packets on (those that its routes allow).
        logging: ``off``, ``low``, ``medium``, ``high`` or ``full``.

    Returns:
        The usual dictionary of a state.

    Fails:
        ufw failed.

    CLI Example:
        See salt/ufw/init.sls.
    """
    want = _wanted(forward, logging)
    if __opts__["test"] and not __salt__["ufw.installed"]():
        return _result(name, None, {"active": {"old": None, "new": True}}, "it would be enabled")
    unloaded = __salt__["ufw.unloaded"]()
    changes = {"loaded": unloaded} if unloaded else _differences(__salt__["ufw.status"](), want)
    if not changes:
        return _result(name, True, {}, "the firewall is on")
    if __opts__["test"]:
        return _result(name, None, changes, "the firewall would be loaded")
    __salt__["ufw.load"](logging)
    left = _differences(__salt__["ufw.status"](), want)
    if left:
        return _result(name, False, changes, f"the firewall is not as it is to be: {left}")
    return _result(name, True, changes, "the firewall was loaded")


def _wanted(forward: bool, logging: str) -> dict[str, Any]:
    """Return the answer that ``ufw.status`` is to give."""
    return {
        "active": True,
        "boot": True,
        "logging": logging,
        "incoming": "deny",
        "outgoing": "allow",
        "routed": "deny" if forward else "disabled",
    }


def _differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return what differs between two answers of ``ufw.status``."""
    return {key: {"old": old[key], "new": new[key]} for key in new if old[key] != new[key]}


def _result(
    name: str, result: bool | None, changes: dict[str, Any], comment: str
) -> dict[str, Any]:
    return {"name": name, "result": result, "changes": changes, "comment": comment}
