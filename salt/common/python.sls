#!py
"""Synchronise the repository's Python to the minion, first of all and only when it changed.

With `autoload_dynamic_modules` a minion synchronises before each run, and spends three quarters of
a run without changes on that. This file does the same at the same moment: before any state, and
also under test=True, so that a prediction knows the states. But it synchronises only if the digest
in the pillar differs from the recorded one. It is written in Python and imports nothing of the
repository, because it must work on a minion that has an older version of everything else, or
nothing yet.
"""

import importlib.util
import sys
from pathlib import Path

from salt.exceptions import CommandExecutionError

KINDS = ("utils", "modules", "states")
TRIES = 3


def run():
    """Synchronise if the digest differs, and return the states that reload the modules and the pillar."""
    forget()
    wanted = __pillar__["host"]["tree"]
    record = Path(__opts__["cachedir"]) / "salina-tree"
    if not record.exists() or record.read_text().strip() != wanted:
        synchronise(wanted)
    return {
        "python-loaded": {
            "file.managed": [
                {"name": str(record)},
                {"contents": wanted},
                {"mode": "0644"},
                {"order": 1},
                {"reload_modules": True},
            ]
        },
        # A minion keeps the pillar that it got when it started. In a new fleet that is none, because
        # the master had no secrets yet. The execution modules need it as soon as they are there.
        "pillar-refreshed": {
            "module.run": [
                {"saltutil.refresh_pillar": []},
                {"onchanges": [{"file": "python-loaded"}]},
            ]
        },
    }


def synchronise(wanted):
    """Fetch the Python and check what arrived, because Salt only logs its errors and continues.

    It fails for a moment when the master changes its session key: "message authentication failed".
    """
    for _ in range(TRIES):
        for kind in KINDS:  # `sync_all` would ask for eighteen other kinds as well
            __salt__[f"saltutil.sync_{kind}"](refresh=False)
        forget()
        found = digest(Path(__opts__["extension_modules"]))
        if found == wanted:
            return
    raise CommandExecutionError(
        f"the Python that reached this minion has the digest {found}; the master has {wanted}. "
        "Was the repository changed meanwhile? Apply again. Otherwise the minion's log says "
        "why, after 'Failed to sync'"
    )


def forget():
    """Drop the utilities imported so far: a job inherits them from its minion, maybe outdated."""
    for name in [name for name in sys.modules if name.split(".")[0] == "salina"]:
        del sys.modules[name]
    importlib.invalidate_caches()


def digest(extension_modules):
    """Return the digest of this minion's Python, as the pillar computes the repository's."""
    path = extension_modules / "utils/salina/common/tree.py"
    if not path.exists():
        return "(none)"
    spec = importlib.util.spec_from_file_location("salina_tree", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.of_minion(extension_modules)
