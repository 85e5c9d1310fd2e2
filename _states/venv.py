"""Keep a virtual environment of Python as its lock says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from salina.common import command as salina_command
from salina.common import file, state

__virtualname__ = "venv"
__salt__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    return __virtualname__


@state.fails_plainly
def locked(name: str, lock: str) -> dict[str, Any]:
    """Ensure that an environment has exactly what a lock file names, and nothing of it halfway.

    The lock is copied to ``installed.txt`` last. An installation that was interrupted is made
    anew: pip takes a distribution for installed whose scripts it had not written. Salt's own ways
    won't do: ``pip.installed`` with requirements predicts a change always, and any ``unless``
    makes Salt load all of its state modules, which takes seconds.

    The pip that installs is the Salt minion's: one of its own costs each environment ten seconds.

    Args:
        name: the environment's directory.
        lock: a complete requirements file with exact versions; not in that directory.

    Fails:
        a command failed; its output is in the message.

    CLI Example:
        See salt/patroni/program.sls.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": "as locked"}
    wanted, stamp = Path(lock), Path(name) / "installed.txt"
    old = stamp.read_text(encoding="utf-8") if stamp.exists() else ""
    if wanted.exists() and wanted.read_text(encoding="utf-8") == old:
        return ret
    if __opts__["test"]:
        return ret | {"result": None, "comment": "would be installed"}
    new = wanted.read_text(encoding="utf-8")
    python = f"{name}/bin/python3"
    stamp.unlink(missing_ok=True)
    _run("python3", "-m", "venv", "--without-pip", *([] if old else ["--clear"]), name)
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    _run(*pip, "--requirement", lock)
    file.put(stamp, new)
    before, after = set(old.splitlines()), set(new.splitlines())
    changes = {"old": sorted(before - after), "new": sorted(after - before)}
    return ret | {"changes": changes, "comment": "installed"}


def _run(*command: str) -> None:
    salina_command.run(__salt__["cmd.run_all"], command)
