"""Building directories of the cache: each is named by a digest of what it is made from.

A directory is built under a temporary name beside its final one and renamed when it is
complete, so that a build which was killed leaves nothing that looks usable. All builds
hold one lock of the machine.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.paths import CACHE

UNFINISHED = ".unfinished"


class BuildError(RuntimeError):
    """A command of a build failed: holds the command and the end of what it printed."""


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    text: str | None = None,
) -> str:
    """Run a command and return its standard output.

    :param argv: command and arguments; no shell
    :param env: added to the environment
    :param cwd: working directory
    :param text: standard input
    :raises BuildError: on a non-zero exit code, with command and the last lines of its output
    """
    done = subprocess.run(
        [str(part) for part in argv],
        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        cwd=cwd,
        input=text or "",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        command = " ".join(str(part) for part in argv)
        raise BuildError(f"exit code {done.returncode} from: {command[:400]}\n{tail}")
    return done.stdout


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is being done, and how long it took."""
    print(f"{what} …", flush=True)
    start = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - start:.0f} s", flush=True)


def digest(*parts: object) -> str:
    """Return twelve hexadecimal digits that stand for the given data.

    :param parts: strings, numbers, lists and mappings, as JSON takes them
    """
    data = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(data.encode()).hexdigest()[:12]


@contextmanager
def lock() -> Iterator[None]:
    """Hold the machine's lock for builds; a second builder waits and says so."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another build of the lab's image or mirror …", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def directory(path: Path, build: Callable[[Path], None]) -> Path:
    """Return the directory, built first where it is missing; its older siblings are removed.

    :param path: PARENT/NAME, where NAME holds the digest of the inputs; PARENT has only such
    :param build: fills the empty directory it is given
    """
    if path.is_dir():
        return path
    unfinished = path.with_name(path.name + UNFINISHED)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(unfinished)
    unfinished.mkdir(mode=0o755)
    build(unfinished)
    unfinished.rename(path)
    for sibling in path.parent.iterdir():
        if sibling != path:
            remove(sibling)
    return path


def point(link: Path, target: Path) -> None:
    """Make a relative symbolic link in one step, also where another one stands."""
    relative = os.path.relpath(target, link.parent)
    if link.is_symlink() and os.readlink(link) == relative:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}{UNFINISHED}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(relative)
    fresh.replace(link)


def remove(path: Path) -> None:
    """Remove a file or a directory with all that is in it; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
