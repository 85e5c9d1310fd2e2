"""Fetch the distributions of a lock, compare each with its hash, and build wheels of the sources.

pip runs as a user that owns nothing, because the code of a source archive runs when pip fetches it
and when pip builds it. The tools that build it come from a lock, too (`salina.common.locks`).

The standard library is all that this module needs, because bin/lab runs it before anything is
installed.

Usage: python3 -m lab.mirror.wheels LOCK DIRECTORY     (makes the wheels of a lock)
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from lab.errors import LabError
from lab.process import run
from salina.common import locks

# The number of the user who builds. No account has it: Debian reserves it, and systemd gives
# dynamic users only numbers up to 65519.
BUILDER = 65530

# pip for every user: the one from which Debian's python3-venv copies. The pip of .venv may be in a
# directory that others cannot enter.
PIP = Path("/usr/share/python-wheels")
QUIET = ("--quiet", "--disable-pip-version-check")

# The files of a user's own configuration of pip, below the home directory.
CONFIGURATION = (".config/pip/pip.conf", ".pip/pip.conf")

THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})

# Platform tags of wheels that Debian bookworm can run.
PLATFORMS = ("manylinux2014", "manylinux2010", "manylinux1", "manylinux_2_28")


def originals(directory: Path, lock: Path, python: str) -> Path:
    """Make a directory contain exactly the files of a lock, as PyPI has them.

    Args:
        directory: The directory, which is kept between runs.
        lock: The lock.
        python: The version of Python that will use the files, for example 3.9.

    Returns:
        The directory.

    Raises:
        LabError: A file has another hash than the lock, or PyPI has none for this Python.
    """
    wanted = locks.entries(lock.read_text())
    by_hash = {digest: entry for entry, hashes in wanted.items() for digest in hashes}
    target = [f"--platform={platform}_x86_64" for platform in PLATFORMS]
    target = [] if python == THIS_PYTHON else [f"--python-version={python}", *target]
    return _complete(
        directory,
        lock,
        lambda file: by_hash.get(_digest(file)),
        ["download", *target, "--dest"],
    )


def wheels(directory: Path, lock: Path) -> Path:
    """Make a directory contain exactly the wheels of a lock, for this version of Python.

    Args:
        directory: The directory, which is kept between runs.
        lock: The lock.

    Returns:
        The directory.

    Raises:
        LabError: A file has another hash than the lock, or a source cannot be built.
    """
    text = lock.read_text()

    def entry(file: Path) -> str | None:
        return None if locks.foreign([file], text) else key(file.name)

    return _complete(directory, lock, entry, ["wheel", "--wheel-dir"])


def key(name: str) -> str:
    """Return the line of a lock that a wheel belongs to.

    The rule is at https://packaging.python.org/specifications/name-normalization
    """
    return "==".join((locks.distribution(name), name.split("-")[1])) if "-" in name else name


def _complete(
    directory: Path, lock: Path, entry: Callable[[Path], str | None], command: Sequence[str]
) -> Path:
    """Remove the files of a directory that are not of a lock, and let pip add those missing.

    Args:
        directory: The directory.
        lock: The lock.
        entry: Returns the line of the lock that a file satisfies, if any.
        command: A command of pip; the name of the directory for its files follows.
    """
    directory.mkdir(parents=True, exist_ok=True)
    text = lock.read_text()
    if faults := locks.faults(text):
        raise LabError("\n".join(f"{lock.name}: {fault}" for fault in faults))
    missing = dict(locks.entries(text))
    for file in directory.iterdir():
        found = entry(file) if file.is_file() else None
        if found not in missing:
            _remove(file)
        else:
            del missing[found]
    if missing:
        # only complete files get their final names
        with TemporaryDirectory(prefix="salina-lab-", dir="/var/tmp") as place:
            for file in _pip(Path(place), lock, missing, command):
                if entry(file) not in missing:
                    raise LabError(
                        f"{file.name} does not belong to {lock.name}, but pip has made it"
                    )
                shutil.move(file, directory / file.name)
    return directory


def _pip(
    place: Path, lock: Path, wanted: Mapping[str, Iterable[str]], command: Sequence[str]
) -> list[Path]:
    """Run a command of pip as the builder in an empty directory, and return its files."""
    results, tools, home = place / "results", place / "tools", place / "home"
    results.mkdir()
    configure(home)
    options, sources = [*locks.VERIFIED], locks.sources(lock.read_text())
    named = {entry.partition("==")[0] for entry in wanted}
    if built := [name for name in sources if name in named]:
        shutil.copy(locks.tools(str(lock)), place / "tools.txt")
        fetch = ["install", *locks.VERIFIED, "--no-compile", f"--target={tools}"]
        unprivileged(place, [*fetch, "-r", f"{place}/tools.txt"])
        options += locks.BUILT
    (place / "lock.txt").write_text(locks.text_of(wanted, built))
    unprivileged(place, [*command, str(results), *options, "-r", f"{place}/lock.txt"])
    if results.is_symlink():
        raise LabError(f"the build of {lock.name} has replaced the directory for its files")
    return [file for file in results.iterdir() if file.is_file() and not file.is_symlink()]


def configure(home: Path) -> None:
    """Give the builder the configuration of pip that this user has."""
    home.mkdir()
    for name in CONFIGURATION:
        own = Path.home() / name
        if own.is_file():
            (home / name).parent.mkdir(parents=True)
            shutil.copyfile(own, home / name)


def unprivileged(
    place: Path, arguments: Sequence[str], variables: Mapping[str, str] = NO_VARIABLES
) -> None:
    """Run pip in a directory, which belongs to the builder meanwhile, if this user is root.

    Args:
        place: The directory. It has the builder's home, in `home`.
        arguments: The command of pip and its arguments.
        variables: Further environment variables of pip.
    """
    packed = sorted(PIP.glob("pip-*.whl"))
    if not packed:
        raise LabError(f"there is no pip in {PIP}", "apt-get install python3-venv")
    own = {"HOME": f"{place}/home", "PYTHONPATH": f"{place}/tools", "PIP_NO_CACHE_DIR": "1"}
    given = [f"{key}={value}" for key, value in {**own, **variables}.items()]
    argv = ["env", f"--chdir={place}", *given]
    argv += ["/usr/bin/python3", f"{packed[-1]}/pip", *arguments, *QUIET]
    if os.geteuid() != 0:
        run(argv)
        return
    become = ["setpriv", f"--reuid={BUILDER}", f"--regid={BUILDER}", "--clear-groups"]
    _give(place, BUILDER)
    try:
        run([*become, "--no-new-privs", "--", *argv])
    finally:
        _give(place, 0)
    run(["chmod", "--recursive", "a-s,go-w", place])


def _give(place: Path, user: int) -> None:
    run(["chown", "--recursive", "--no-dereference", f"{user}:{user}", place])


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


if __name__ == "__main__":
    try:
        wheels(Path(sys.argv[2]), Path(sys.argv[1]))
    except LabError as error:
        sys.exit(f"{error}\n{error.advice}".strip())
