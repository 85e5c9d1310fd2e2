"""Keep the minion itself in step with the repository.

Imports nothing of this repository on purpose: it must load, and be right, in a process that still
holds an older version of everything else.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

__virtualname__ = "salina"
__opts__: dict[str, Any]

PREFIX = "salina_"


def __virtual__() -> str:
    return __virtualname__


def python_loaded(name: str, record: str) -> dict[str, Any]:
    """Ensure that this process uses the Python of the repository, and record which that is.

    To be called after ``saltutil.sync_all``, which logs its errors but doesn't report them: what
    arrived is compared with what the pillar promised. Utilities imported by an earlier version are
    forgotten, so that the modules loaded next import them anew (with ``reload_modules: True``).

    Args:
        name: the digest to have, from pillar ``node.tree``.
        record: file to write the digest to, read by the ``unless`` of the SLS.

    Returns:
        The usual dictionary of a state; ``changes`` names the old and the new digest.

    Raises:
        CommandExecutionError: the files that arrived are not those of the repository.

    CLI example: see ``salt/common/python.sls``.
    """
    extension_modules = Path(__opts__["extension_modules"])
    for module in [loaded for loaded in sys.modules if loaded.startswith(PREFIX)]:
        del sys.modules[module]
    importlib.invalidate_caches()
    found = _load(extension_modules / "utils" / "salina_tree.py").of_minion(extension_modules)
    if found != name:
        raise CommandExecutionError(
            f"the Python in {extension_modules} has the digest {found}, the master's has {name}: "
            "was the repository changed during this run? Apply again; if that doesn't help, see "
            "the minion's log for 'Failed to sync'"
        )
    path = Path(record)
    old = path.read_text(encoding="ascii").strip() if path.exists() else None
    path.write_text(f"{name}\n", encoding="ascii")
    return {
        "name": name,
        "result": True,
        "changes": {"python": {"old": old, "new": name}},
        "comment": "modules, states and utilities are those of the repository",
    }


def _load(path: Path) -> Any:
    """Return the module at a path, executed now, without leaving it in ``sys.modules``."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.exists():
        raise CommandExecutionError(f"{path} is missing: see the minion's log for 'Failed to sync'")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
