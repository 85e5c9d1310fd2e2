"""Build virtual environments of Python, complete and from exactly the requested distributions.

An environment for the host's own interpreter is built with the minion's pip, because a pip of its
own would cost ten seconds. The minion's pip does not run on the older interpreters of older
applications (pip 26 needs Python 3.10). So their environments get the pip of Debian's virtualenv.

A distribution without a wheel is built by code of its own, such as setup.py. So pip first makes
wheels of all distributions, as an unprivileged user (`salina.common.builder`). Then root
installs exactly these wheels, which runs no code of theirs.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import builder, commands, file

__salt__: dict[str, Any]

#: The host's own interpreter.
OWN = "python3"
#: A file in a complete environment. It holds what the environment was built from; written last.
RECORD = "salina.json"
#: The file system of the builds. The wheels are deleted afterwards.
BUILDS = "/var/tmp"
QUIET = ("--quiet", "--disable-pip-version-check")
#: pip 23 on Python 3.9 imports distutils, which Debian has removed. This makes it use sysconfig.
WITHOUT_DISTUTILS = "import sysconfig; sysconfig._PIP_USE_SYSCONFIG = True\n"


def installed(path: str) -> dict[str, Any]:
    """Return what an environment was built from.

    Args:
        path: the environment's directory.

    Returns:
        The same as `python_environment.wanted`, or {} if the environment is missing or incomplete.

    CLI Example:
        salt s1 python_environment.installed /opt/odoo/odoo-14.0
    """
    try:
        found: dict[str, Any] = json.loads((Path(path) / RECORD).read_text())
    except (FileNotFoundError, ValueError):  # ValueError: writing it was interrupted
        return {}
    return found


def wanted(
    interpreter: str, requirements: str, lock: bool, without_dependencies: list[str]
) -> dict[str, Any]:
    """Return what an environment must be built from.

    Args:
        interpreter: a command such as python3.9; python3 is the host's own.
        requirements: salt://FILE, or a path on this host.
        lock: whether the file names all distributions with exact versions. These versions then
            also apply to tools that build distributions from source.
        without_dependencies: further distributions (NAME==VERSION), installed one by one without
            their dependencies.

    Returns:
        These values, with the lines of the requirements. {} if a path on this host does not exist.

    Raises:
        CommandExecutionError: the master has no such file.

    CLI Example:
        salt s1 python_environment.wanted python3.9 salt://locks/odoo-14.0.txt True '[]'
    """
    path = requirements
    if requirements.startswith("salt://"):
        path = __salt__["cp.cache_file"](requirements)
        if not path:
            raise CommandExecutionError(f"requirements: {requirements} is not on the master")
    if not Path(path).exists():
        return {}
    return {
        "interpreter": interpreter,
        "requirements": Path(path).read_text().splitlines(),
        "lock": lock,
        "without_dependencies": list(without_dependencies),
    }


def install(path: str, wanted: dict[str, Any]) -> None:
    """Build an environment, or update a complete one.

    An incomplete environment is deleted first, and virtualenv's own cache with it. Otherwise pip
    would keep a distribution whose scripts are missing, and virtualenv half a copy of pip.

    Args:
        path: the environment's directory.
        wanted: what `python_environment.wanted` returned.

    Raises:
        CommandExecutionError: venv, virtualenv or pip failed, or a file cannot be written. The
            environment then counts as incomplete.

    CLI Example:
        salt s1 python_environment.install /opt/test '{"interpreter": "python3", "lock": true,
            "requirements": ["six==1.17.0"], "without_dependencies": []}'
    """
    home = Path(path)
    clear = not installed(path)
    (home / RECORD).unlink(missing_ok=True)
    create = _with_the_minions_pip if wanted["interpreter"] == OWN else _with_its_own_pip
    pip = create(home, wanted["interpreter"], clear)
    requirements = home / "requirements.txt"
    file.put(requirements, "\n".join([*wanted["requirements"], ""]))
    options = ["--no-deps", "--use-pep517"] if wanted["lock"] else []
    constraint = {"PIP_CONSTRAINT": str(requirements)} if wanted["lock"] else {}
    with tempfile.TemporaryDirectory(prefix="salina-build-", dir=BUILDS) as place:
        _build(Path(place), pip, [*options, "-r", str(requirements)], constraint)
        if wanted["without_dependencies"]:
            _build(Path(place), pip, ["--no-deps", *wanted["without_dependencies"]], {})
        wheels = sorted(str(wheel) for wheel in Path(place, "wheels").glob("*.whl"))
        # no bytecode for an older interpreter: the service keeps it in PYTHONPYCACHEPREFIX
        compiled = [] if wanted["interpreter"] == OWN else ["--no-compile"]
        _run([*pip, "install", *QUIET, *compiled, "--no-index", "--no-deps", *wheels])
    file.put(home / RECORD, json.dumps(wanted))


def _build(place: Path, pip: list[str], arguments: list[str], env: dict[str, str]) -> None:
    """Make wheels in a directory, as an unprivileged user."""
    wheels = place / "wheels"
    argv = [*pip, "wheel", *QUIET, f"--wheel-dir={wheels}", *arguments]
    env = {"HOME": str(place), "PIP_NO_CACHE_DIR": "1", **env}
    builder.run(__salt__["cmd.run_all"], place, argv, [wheels], env=env)


def _with_the_minions_pip(home: Path, interpreter: str, clear: bool) -> list[str]:
    """Create an environment without pip; return the command that is pip for it."""
    _run([interpreter, "-m", "venv", "--without-pip", *(["--clear"] if clear else []), str(home)])
    return [sys.executable, "-m", "pip", "--python", f"{home}/bin/{interpreter}"]


def _with_its_own_pip(home: Path, interpreter: str, clear: bool) -> list[str]:
    """Create an environment with a pip of its own; return the command that is pip for it."""
    clean = ["--clear", "--reset-app-data"] if clear else []
    _run(["virtualenv", "--quiet", *clean, "--python", interpreter, str(home)])
    file.put(home / "lib" / interpreter / "site-packages/salina.pth", WITHOUT_DISTUTILS)
    return [f"{home}/bin/pip"]


def _run(argv: list[str]) -> None:
    commands.run(__salt__["cmd.run_all"], argv)
