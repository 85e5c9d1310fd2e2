"""Salt's modules and states in a unit test: loaded by path, with what Salt would give them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

from salt.exceptions import CommandExecutionError

from tests import fleets
from tests.conftest import REPOSITORY


def load(path: str, **given: Any) -> ModuleType:
    """Load `_states/gluster.py`; `salt={...}, opts={...}` become its `__salt__`, `__opts__`."""
    file = REPOSITORY / path
    spec = importlib.util.spec_from_file_location(f"{file.parent.name}_{file.stem}", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in given.items():
        setattr(module, f"__{name}__", value)
    return module


def failure(ret: dict[str, Any]) -> str:
    """Return the comment of a failed state, which must report no change."""
    assert (ret["result"], ret["changes"]) == (False, {}), ret
    return str(ret["comment"])


def never(*_: Any, **__: Any) -> Any:
    """Fail the test: a function that a state must not call."""
    raise AssertionError("called")


def refusing(said: str) -> Callable[..., Any]:
    """Return a function of a module that raises with these words."""

    def function(*_: Any, **__: Any) -> Any:
        raise CommandExecutionError(said)

    return function


def states(name: str, test: bool = False, **modules: Any) -> ModuleType:
    """Load a state module of an app host.

    Args:
        name: the module's name.
        test: whether Salt only predicts.
        modules: the functions that it calls; `once_done` stands for the function `once.done`.
    """
    salt = {one.replace("_", ".", 1): function for one, function in modules.items()}
    pillar = fleets.pillar("s1")
    return load(f"_states/{name}.py", salt=salt, opts={"test": test}, pillar=pillar)


class Managed:
    """Core's state `file.managed`, only pretended: it notes its arguments by the file's path."""

    def __init__(self, changes: dict[str, Any], result: bool | None = True) -> None:
        self.ret = {"name": "", "result": result, "changes": changes, "comment": "No space left"}
        self.given: dict[str, dict[str, Any]] = {}

    def __call__(self, path: str, **given: Any) -> dict[str, Any]:
        self.given[path] = given
        return self.ret
