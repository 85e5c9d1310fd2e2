"""Virtual environments for an interpreter that is not the host's own, or for a checkout's file.

The state `venv.locked` is quicker: it installs with the minion's pip. That one doesn't run on the
older interpreters of older applications (pip 26 needs Python 3.10), so here each environment gets
the pip that Debian's virtualenv has with it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import command, file

__salt__: dict[str, Any]

#: In an environment: what it was made from, written last.
RECORD = "salina.json"
#: pip 23 on Python 3.9 asks for distutils, which Debian has taken out; so it asks sysconfig.
WITHOUT_DISTUTILS = "import sysconfig; sysconfig._PIP_USE_SYSCONFIG = True\n"


def installed(path: str) -> dict[str, Any]:
    """What an environment was made from, as ``wanted`` gives it; {} where none is complete.

    CLI example::

        salt s1 python_environment.installed /opt/odoo/odoo-14.0
    """
    try:
        found: dict[str, Any] = json.loads((Path(path) / RECORD).read_text())
    except (FileNotFoundError, ValueError):  # ValueError: interrupted while it was written
        return {}
    return found


def wanted(
    interpreter: str, requirements: str, lock: bool, without_dependencies: list[str]
) -> dict[str, Any]:
    """What an environment is to be made from; {} where the requirements aren't there yet.

    Args:
        interpreter: a command such as python3.11.
        requirements: salt://FILE, or a path on this host.
        lock: it names all there is to install, with exact versions; those count for what is
            built from source, too.
        without_dependencies: NAME==VERSION of what comes after it, by itself.

    CLI example::

        salt s1 python_environment.wanted python3.9 salt://locks/odoo-14.0.txt True '[]'
    """
    path = requirements
    if requirements.startswith("salt://"):
        path = __salt__["cp.cache_file"](requirements)
        if not path:
            raise CommandExecutionError(f"{requirements} is not on the master")
    if not Path(path).exists():
        return {}
    return {
        "interpreter": interpreter,
        "requirements": Path(path).read_text().splitlines(),
        "lock": lock,
        "without_dependencies": list(without_dependencies),
    }


def install(path: str, wanted: dict[str, Any]) -> None:
    """Make an environment, or bring it up to date.

    One that was interrupted is made anew, and virtualenv's own cache with it: pip takes a
    distribution for installed whose scripts it had not written, virtualenv a pip half copied.

    Args:
        path: the environment.
        wanted: what the function of that name gives.

    Raises:
        CommandExecutionError: virtualenv or pip failed, or a file can't be written; the environment
            counts as incomplete.

    CLI example: see ``python_environment.installed``, the state.
    """
    home, interpreter = Path(path), wanted["interpreter"]
    anew = [] if installed(path) else ["--clear", "--reset-app-data"]
    (home / RECORD).unlink(missing_ok=True)
    _run(["virtualenv", "--quiet", *anew, "--python", interpreter, path])
    file.put(home / "lib" / interpreter / "site-packages/salina.pth", WITHOUT_DISTUTILS)
    requirements = home / "requirements.txt"
    file.put(requirements, "\n".join([*wanted["requirements"], ""]))
    pip = [f"{path}/bin/pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-compile"]  # the service keeps its bytecode itself (PYTHONPYCACHEPREFIX)
    options = ["--no-deps", "--use-pep517"] if wanted["lock"] else []
    constraint = {"PIP_CONSTRAINT": str(requirements)} if wanted["lock"] else {}
    _run([*pip, *options, "-r", str(requirements)], constraint)
    if wanted["without_dependencies"]:
        _run([*pip, "--no-deps", *wanted["without_dependencies"]])
    file.put(home / RECORD, json.dumps(wanted))


def _run(argv: list[str], env: dict[str, str] | None = None) -> None:
    command.run(__salt__["cmd.run_all"], argv, env=env or {})
