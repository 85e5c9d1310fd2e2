"""The module and the state `apt`: what an installation left halfway is seen and finished."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from salina.common import apt
from tests.loading import failure, load

STATUS = """\
Package: bash
Essential: yes
Status: install ok installed
Description: Status: install ok half-installed

Package: git
Status: {git}
Conffiles:
 /etc/x 0123 obsolete

Package: nano
Status: deinstall ok config-files
"""
WHOLE, HALF = (STATUS.format(git=f"install ok {word}") for word in ("installed", "unpacked"))


@pytest.mark.parametrize(
    "status",
    [
        "install ok unpacked",
        "install ok half-configured",
        "install ok half-installed",
        "install ok triggers-awaited",
        "install ok triggers-pending",
        "install reinstreq half-installed",
        "install reinstreq installed",
    ],
)
def test_what_is_halfway(status: str) -> None:
    assert apt.unfinished(STATUS.format(git=status)) == ["git"]


@pytest.mark.parametrize(
    "status", ["install ok installed", "hold ok installed", "purge ok not-installed"]
)
def test_what_is_whole(status: str) -> None:
    assert apt.unfinished(STATUS.format(git=status)) == []


class Host:
    """A host's dpkg, in place of the commands."""

    def __init__(self, folder: Path) -> None:
        self.commands: list[str] = []
        self.status = folder / "status"
        self.journal = folder / "updates/0001"
        self.journal.parent.mkdir()
        self.mends = True
        self.refuses = False
        self.module = load("_modules/apt.py", salt={"cmd.run_all": self.run})
        self.module.DPKG = folder  # type: ignore[attr-defined]
        names = ("unfinished", "busy", "finish")
        salt = {f"apt.{name}": getattr(self.module, name) for name in names}
        self.state: ModuleType = load("_states/apt.py", salt=salt, opts={"test": False})
        self.status.write_text(WHOLE)

    def run(self, argv: list[str], **_: Any) -> dict[str, Any]:
        self.commands.append(" ".join(argv))
        if "apt-get" in argv and self.mends:
            self.status.write_text(WHOLE)
            self.journal.unlink(missing_ok=True)
        failed = "dpkg" in argv or (self.refuses and "apt-get" in argv)
        return {"retcode": int(failed), "stdout": "", "stderr": "unconfigured"}

    def apply(self, wait: int = 0) -> dict[str, Any]:
        ret: dict[str, Any] = self.state.whole("packages", wait)
        return ret


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_nothing_is_done_where_all_is_whole(host: Host) -> None:
    """K1: The state does nothing when every package is complete."""
    assert host.apply()["changes"] == {}
    assert host.commands == []


@pytest.mark.parametrize("what", ["a package", "the journal"])
def test_what_was_left_halfway_is_finished(host: Host, what: str) -> None:
    """K2: The state finishes an interrupted installation."""
    if what == "a package":
        host.status.write_text(HALF)
    else:
        host.journal.touch()
    host.state.__opts__["test"] = True  # type: ignore[attr-defined]
    assert host.apply()["result"] is None
    assert host.commands == []
    host.state.__opts__["test"] = False  # type: ignore[attr-defined]
    ret = host.apply()
    assert ret["result"] is True
    assert list(ret["changes"]) == ["git" if what == "a package" else "dpkg's journal"]
    assert [command.split()[0] for command in host.commands] == ["dpkg", "setpriv"]
    assert all("--force-confold" in command for command in host.commands)
    assert host.apply()["changes"] == {}


def test_what_can_t_be_finished_is_an_error(host: Host) -> None:
    """K5: The state fails when an installation cannot be finished."""
    host.status.write_text(HALF)
    host.mends = False
    ret = host.apply()
    assert ret["result"] is False
    assert "still half installed: git" in ret["comment"]
    host.refuses = True
    assert re.fullmatch("apt-get .*--fix-broken install: unconfigured", failure(host.apply()))


def test_an_installation_that_goes_on_is_waited_for(host: Host, tmp_path: Path) -> None:
    host.status.write_text(HALF)
    script = "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.lockf(file, fcntl.LOCK_EX);"
    script += "print(flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "lock-frontend")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout
    holder.stdout.readline()
    assert re.search("waited 0 s for the packages: another process", failure(host.apply()))
    assert host.commands == []
    holder.communicate()
    assert host.apply()["result"] is True
    with (tmp_path / "lock-frontend").open("a") as file:  # nobody holds it any more
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
