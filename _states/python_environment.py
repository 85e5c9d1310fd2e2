"""Ensure that virtual environments of Python are complete and up to date."""

from __future__ import annotations

from typing import Any

from salina.common import locks, state

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def installed(
    name: str,
    interpreter: str,
    requirements: str,
    lock: bool = True,
    without_dependencies: list[str] | None = None,
    constraints: list[str] | None = None,
) -> dict[str, Any]:
    """Ensure that a virtual environment was built, completely, from the current requirements.

    The state compares the requirements with a record that an installation writes last. So it
    repeats an interrupted installation, and leaves an up-to-date environment alone. Salt's own
    `pip.installed` always predicts a change for a file of requirements. With an `unless`, Salt
    loads all of its state modules, which takes seconds.

    Args:
        name: the environment's directory.
        interpreter: a command such as python3.9; python3 is the host's own.
        requirements: salt://FILE, or a path on this host.
        lock: whether the file is a lock, with the exact version and the hashes of every
            distribution. Otherwise pip adds their dependencies and verifies nothing.
        without_dependencies: further distributions (NAME==VERSION) without their dependencies.
        constraints: versions that pip may take if the file is not a lock, such as setuptools<82.
            They hold for all distributions, and for the tools that build them.

    Returns:
        The state's result. It fails if virtualenv or pip fails, or if the file is missing.

    CLI Example:
        See salt/patroni/program.sls.
    """
    old = __salt__["python_environment.installed"](name)
    new = __salt__["python_environment.wanted"](
        interpreter, requirements, lock, without_dependencies or [], constraints or []
    )
    if new and old == new:
        return state.result(name, True, "it is up to date")
    changes = {"distributions": {"old": _only(old, new), "new": _only(new, old)}}
    before, after = (one.get("constraints", []) for one in (old, new))
    if before != after:
        changes["constraints"] = {"old": before, "new": after}
    built = f"built from {requirements} with {interpreter}"
    if __opts__["test"]:
        return state.result(name, None, f"it would be {built}", changes)
    if not new:
        return state.result(name, False, f"requirements: {requirements} is missing")
    __salt__["python_environment.install"](name, new)
    return state.result(name, True, f"it was {built}", changes)


def _only(these: dict[str, Any], those: dict[str, Any]) -> list[str]:
    """Return the distributions that only the first one has, or has with other hashes."""
    others = _distributions(those)
    return [name for name, hashes in _distributions(these).items() if others.get(name) != hashes]


def _distributions(one: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the hashes of each distribution that an environment must have."""
    lines = one.get("requirements", [])
    if one.get("lock"):
        return dict(locks.entries("\n".join(lines)))
    return dict.fromkeys([*lines, *one.get("without_dependencies", [])], ())
