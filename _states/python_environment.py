"""Keep a virtual environment what a lock, or a file of requirements, says."""

from __future__ import annotations

from typing import Any

from salina.common import state

__virtualname__ = "python_environment"
__salt__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    return __virtualname__


@state.fails_plainly
def installed(
    name: str,
    interpreter: str,
    requirements: str,
    lock: bool = True,
    without_dependencies: list[str] | None = None,
) -> dict[str, Any]:
    """Ensure that a virtual environment was made, completely, from what is asked for now.

    It is compared with the record that an installation writes last: one that was interrupted is
    done again, and one that is right costs nothing.

    Args:
        name: the environment's directory.
        interpreter: a command such as python3.11.
        requirements: salt://FILE, or a path on this host.
        lock: it names all distributions with exact versions. Otherwise pip looks for what the
            named ones depend on.
        without_dependencies: NAME==VERSION of further ones, taken without what they depend on.

    Fails:
        virtualenv or pip failed, or there is no such file.

    CLI Example:
        See salt/odoo/python.sls.
    """
    old = __salt__["python_environment.installed"](name)
    new = __salt__["python_environment.wanted"](
        interpreter, requirements, lock, without_dependencies or []
    )
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": "it is right"}
    if new and old == new:
        return ret
    changes = {"distributions": {"old": _only(old, new), "new": _only(new, old)}}
    if __opts__["test"]:
        would = f"would be made from {requirements} with {interpreter}"
        return ret | {"result": None, "comment": would, "changes": changes}
    if not new:
        return ret | {"result": False, "comment": f"{requirements} is missing"}
    __salt__["python_environment.install"](name, new)
    made = f"made from {requirements} with {interpreter}"
    return ret | {"comment": made, "changes": changes}


def _only(these: dict[str, Any], those: dict[str, Any]) -> list[str]:
    """What the first asks for and the second doesn't."""
    first, second = (
        [*one.get("requirements", []), *one.get("without_dependencies", [])]
        for one in (these, those)
    )
    return [line for line in first if line not in second]
