"""The user that runs the code of packages: with processes and files for real, as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.common import builder

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")

USER = "64321"
"""A user without a name, whom no process of this machine has."""


def run_all(argv: list[str], **options: Any) -> dict[str, Any]:
    """`cmd.run_all` as Salt has it, for real."""
    assert options.pop("python_shell") is False
    options.pop("ignore_retcode", None)
    options |= {"stdin": subprocess.DEVNULL}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **options)
    return {"retcode": done.returncode, "stdout": done.stdout.strip(), "stderr": done.stderr}


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that other users reach; pytest's own are root's alone."""
    monkeypatch.setattr(builder, "USER", USER)
    path = Path(tempfile.mkdtemp(prefix="salina-", dir="/tmp"))
    path.chmod(0o755)
    (path / "work").mkdir()
    yield path / "work"
    shutil.rmtree(path)


def build(place: Path, script: str) -> None:
    builder.run(run_all, place, ["sh", "-c", script])


def test_x10_packages_are_built_without_root(place: Path) -> None:
    """X10: The command is another user without groups, and cannot become root again."""
    build(place, "id -u > user; id -G > groups; grep NoNewPrivs /proc/self/status > privileges")
    found = [(place / name).read_text().split()[-1] for name in ("user", "groups", "privileges")]
    assert found == [USER, USER, "1"]


def test_x10_a_build_reads_no_secret(place: Path) -> None:
    """X10, K4: A file that only root reads stays closed."""
    secret = place.parent / "secret"
    secret.write_text("canary")
    secret.chmod(0o600)
    with pytest.raises(CommandExecutionError, match="Permission denied"):
        build(place, f"cat {secret}")


def test_x10_the_result_belongs_to_root(place: Path) -> None:
    """X10: Nobody else can write to it, and no program of it runs as its owner."""
    target = place.parent / "target"
    target.write_text("mine")
    os.chown(target, 1, 1)
    build(
        place,
        f"mkdir all; chmod 777 all; echo x > all/file; cp /bin/true setuid; chmod 6755 setuid; "
        f"ln -s {target} link",
    )
    for path in (place, *place.rglob("*")):
        found = path.lstat()
        assert (found.st_uid, found.st_gid) == (0, 0), path
        assert path.is_symlink() or not found.st_mode & 0o6022, path
    assert target.stat().st_uid == 1


@pytest.mark.further
def test_x10_no_process_is_left(place: Path) -> None:
    """X10: A process that a script leaves behind ends, also after a failure."""
    with pytest.raises(CommandExecutionError):
        build(place, "(trap '' TERM HUP; sleep 60) >/dev/null 2>&1 & exit 1")
    for _ in range(50):
        if subprocess.run(["pgrep", "--uid", USER], capture_output=True).returncode:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("a process is left")
