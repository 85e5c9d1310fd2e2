"""Build virtual environments of Python, complete and from exactly the requested distributions.

An environment for the host's own interpreter is built with the minion's pip, because a pip of its
own would cost ten seconds. The minion's pip does not run on the older interpreters of older
applications (pip 26 needs Python 3.10). So their environments get the pip of Debian's virtualenv.

A distribution without a wheel is built by code of its own, such as setup.py. So pip first makes
wheels of all distributions, as an unprivileged user (`salina.common.builder`). Then root
installs exactly these wheels, which runs no code of theirs.

A lock has the hashes of every file (`salina.common.locks`). pip compares each file with them
before it runs any code of it, and the tools that build a distribution have a lock of their own. The
environment does not change before all wheels exist.

Without a lock, pip fetches the newest tools for a build. Constraints limit their versions.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import builder, commands, file, included, locks

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
    interpreter: str,
    requirements: str,
    lock: bool,
    without_dependencies: list[str],
    constraints: list[str] | None = None,
    further: list[str] | None = None,
) -> dict[str, Any]:
    """Return what an environment must be built from.

    Args:
        interpreter: a command such as python3.9; python3 is the host's own.
        requirements: salt://FILE, or a path on this host.
        lock: whether the file is a lock, with the exact version and the hashes of every
            distribution.
        without_dependencies: further distributions (NAME==VERSION), installed one by one without
            their dependencies.
        constraints: versions that pip may take if the file is not a lock, such as setuptools<82.
        further: paths of further requirements, which pip resolves together with the first ones.

    Returns:
        These values, with the lines of the requirements and of the files that they include, and
        those of the build tools' lock if the lock needs it. Constraints are left out if there are
        none. {} if a path on this host does not exist.

    Raises:
        CommandExecutionError: the master has no such file, a lock has no hash for some file, or
            requirements include a file that cannot be read.

    CLI Example:
        salt s1 python_environment.wanted python3.9 salt://locks/odoo-14.0.txt True '[]'
    """
    read = _read if lock else _whole
    texts = [read(source) for source in (requirements, *(further or []))]
    text = "\n".join(one for one in texts if one is not None)
    if None in texts:
        return {}
    found = {
        "interpreter": interpreter,
        "requirements": text.splitlines(),
        "lock": lock,
        "without_dependencies": list(without_dependencies),
    }
    if constraints:  # an empty key would rebuild the environments that older versions recorded
        found["constraints"] = list(constraints)
    if lock:
        _verifiable(requirements, text)
        if sources := locks.sources(text):
            name = locks.tools(requirements)
            tools = _read(name)
            if tools is None:
                why = f"it must have the tools that build {', '.join(sources)}"
                raise CommandExecutionError(f"{name} is missing; {why}")
            _verifiable(name, tools)
            found["tools"] = tools.splitlines()
    return found


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
    home, before = Path(path), installed(path)
    create = _with_the_minions_pip if wanted["interpreter"] == OWN else _with_its_own_pip
    with tempfile.TemporaryDirectory(prefix="salina-build-", dir=BUILDS) as directory:
        place = Path(directory)
        # a complete environment may be in use, so it has no part in the builds
        pip = create(place / "env" if before else home, wanted["interpreter"], not before)
        _build_all(place, pip, wanted)
        wheels = sorted((place / "wheels").glob("*.whl"))
        if wanted["lock"]:
            _refuse_foreign(wheels, wanted)
        (home / RECORD).unlink(missing_ok=True)
        if before:
            pip = create(home, wanted["interpreter"], False)
        # no bytecode for an older interpreter: the service keeps it in PYTHONPYCACHEPREFIX
        options = [] if wanted["interpreter"] == OWN else ["--no-compile"]
        # pip would keep what is installed in the same version, although nobody has verified it
        force = before and wanted["lock"] and not _verified(before)
        options += ["--force-reinstall"] if force else []
        _run([*pip, "install", *QUIET, *options, "--no-index", "--no-deps", *map(str, wheels)])
    file.put(home / RECORD, json.dumps(wanted))


def _read(source: str) -> str | None:
    """Return the text of salt://FILE or of a path on this host; None if that does not exist."""
    path = source
    if source.startswith("salt://"):
        path = __salt__["cp.cache_file"](source)
        if not path:
            raise CommandExecutionError(f"requirements: {source} is not on the master")
    return Path(path).read_text() if Path(path).exists() else None


def _whole(source: str) -> str | None:
    """Return the text of requirements, as `_read` does, with those of the files they include."""
    folder, _, name = source.rpartition("/")

    def beside(name: str) -> str | None:
        path = f"{folder}/{name}"
        if not folder.startswith("salt:/"):
            # the code may have links, and this process may read every file of the host
            real = Path(path).resolve()
            if not real.is_relative_to(Path(folder).resolve()) or not real.is_file():
                return None
            path = str(real)
        return _read(path)

    text = beside(name)
    if text is None:
        if not Path(source).exists():
            return None
        words = "is not a file, or is a link that leads out of its directory"
        raise CommandExecutionError(f"requirements: {source} {words}")
    try:
        return included.whole(name, text, beside)
    except ValueError as error:
        raise CommandExecutionError(f"requirements: {error}") from error


def _verifiable(source: str, text: str) -> None:
    """Raise an error if pip could not verify every file of a lock."""
    if faults := locks.faults(text):
        raise CommandExecutionError("\n".join(f"{source}: {fault}" for fault in faults))


def _refuse_foreign(wheels: list[Path], wanted: dict[str, Any]) -> None:
    """Raise an error if a build has made wheels that the lock does not allow."""
    if foreign := locks.foreign(wheels, "\n".join(wanted["requirements"])):
        raise CommandExecutionError(
            f"{', '.join(foreign)}: the hash is not in the lock; a build must have replaced it"
        )


def _verified(record: dict[str, Any]) -> bool:
    """Return whether pip has compared every file of an environment with a hash."""
    text = "\n".join(record.get("requirements", []))
    return bool(record.get("lock")) and not locks.faults(text)


def _build_all(place: Path, pip: list[str], wanted: dict[str, Any]) -> None:
    """Make all wheels in a directory."""
    requirements = _put(place / "requirements.txt", wanted["requirements"])
    if not wanted["lock"]:
        limits = _limits(place, wanted.get("constraints", []))
        _build(place, pip, ["-r", requirements], limits)
        if wanted["without_dependencies"]:
            _build(place, pip, ["--no-deps", *wanted["without_dependencies"]], limits)
        return
    options, env = [*locks.VERIFIED], {}
    if "tools" in wanted:
        tools = _put(place / "tools.txt", wanted["tools"])
        target = f"{place}/tools"
        fetch = [*pip, "install", *QUIET, *locks.VERIFIED, "--no-compile", f"--target={target}"]
        _unprivileged(place, [*fetch, "-r", tools], [], {})
        options, env = [*options, *locks.BUILT], {"PYTHONPATH": target}
    _build(place, pip, [*options, "-r", requirements], env)


def _limits(place: Path, constraints: list[str]) -> dict[str, str]:
    """Return the environment variables that make pip obey constraints, also in its builds.

    For the tools of a build, pip obeys the second variable since version 25.3, and the first one
    before version 26.2. An older pip ignores the second.
    """
    if not constraints:
        return {}
    path = _put(place / "constraints.txt", constraints)
    return {"PIP_CONSTRAINT": path, "PIP_BUILD_CONSTRAINT": path}


def _build(
    place: Path, pip: list[str], arguments: list[str], env: dict[str, str] | None = None
) -> None:
    """Add wheels to a directory."""
    wheels = place / "wheels"
    argv = [*pip, "wheel", *QUIET, f"--wheel-dir={wheels}", *arguments]
    _unprivileged(place, argv, [wheels], env or {})


def _unprivileged(place: Path, argv: list[str], results: list[Path], env: dict[str, str]) -> None:
    env = {"HOME": str(place), "PIP_NO_CACHE_DIR": "1", **env}
    builder.run(__salt__["cmd.run_all"], place, argv, results, env=env)


def _put(path: Path, lines: list[str]) -> str:
    file.put(path, "\n".join([*lines, ""]))
    return str(path)


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
