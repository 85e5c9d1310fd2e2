"""Salt's modules and states in a unit test: loaded by path, with what Salt would give them."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

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
