"""The master's own state: its archive, its copies on the backup host, and when they are late."""

from __future__ import annotations

import base64
import gzip
import io
import os
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina_fleet import master_state
from salina_fleet.master_state import StateError
from tests.loading import load

RECIPIENT = "age1" + "q" * 58
NAMES = ["20261101T000000Z.tar.gz.age", "20261102T000000Z.tar.gz.age"]


def names(content: bytes) -> list[str]:
    """Return the paths in an archive."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as tar:
        return tar.getnames()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A directory with a secret, a file that is left out, and a socket."""
    folder = tmp_path / "salina"
    (folder / "secrets").mkdir(parents=True)
    (folder / "secrets" / "ca.key").write_text("secret")
    (folder / "saved.json").write_text("{}")
    os.mkfifo(folder / "pipe")
    return folder


def test_the_archive_has_every_file_by_its_path(state: Path) -> None:
    """O9: It is unpacked at the root of a new master, so it has whole paths; pipes stay out."""
    inside = str(state).lstrip("/")
    assert names(master_state.archive([state], {state / "saved.json"})) == [
        inside,
        f"{inside}/secrets",
        f"{inside}/secrets/ca.key",
    ]


def test_the_same_state_gives_the_same_archive(state: Path) -> None:
    """O9: An unchanged state is not saved again before the day is over."""
    first = master_state.archive([state])
    assert master_state.archive([state]) == first
    (state / "secrets" / "ca.key").write_text("another")
    assert master_state.digest(master_state.archive([state])) != master_state.digest(first)


def test_a_state_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """K5: A directory that is missing does not lead to an empty copy."""
    with pytest.raises(StateError, match=r"cannot be read: .*missing"):
        master_state.archive([tmp_path / "missing"])


def test_age_encrypts_for_the_recipient(monkeypatch: pytest.MonkeyPatch) -> None:
    """X6: The content goes through a pipe, and no secret is on the command line."""
    called: list[Any] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        called.append((command, options["input"]))
        return subprocess.CompletedProcess(command, 0, b"encrypted", b"")

    monkeypatch.setattr(subprocess, "run", run)
    assert master_state.encrypted(b"secret", RECIPIENT) == b"encrypted"
    assert called == [(["age", "--encrypt", "--recipient", RECIPIENT], b"secret")]


def test_a_refused_key_and_a_missing_program_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """K5: The message has the words of age, or what to do."""
    refused = subprocess.CompletedProcess([], 1, b"", b"age: error: malformed recipient\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: refused)
    with pytest.raises(StateError, match="malformed recipient"):
        master_state.encrypted(b"", RECIPIENT)

    def absent(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", absent)
    with pytest.raises(StateError, match="age is not installed; apply the master's states"):
        master_state.encrypted(b"", RECIPIENT)


@pytest.mark.parametrize(
    ("wanted", "saved", "good", "words"),
    [
        (False, 0, True, "not saved; see recipient in pillar/settings/backup.yaml"),
        (True, 0, False, "not saved yet\n  next: salt-run backup.save_master"),
        (True, 99_000, True, "saved 16 min ago"),
        (True, 100_000 - 26 * 3600, False, "saved 1 days 2 h ago\n  next: "),
    ],
)
def test_a_late_copy_is_no_good_state(wanted: bool, saved: float, good: bool, words: str) -> None:
    """O9: The status fails if the settings want a copy and the day's is missing."""
    found = master_state.judged(wanted, saved, 100_000)
    assert found["good"] is good
    assert found["message"].startswith(f"the master's own state: {words}")


@pytest.fixture
def host(tmp_path: Path) -> Any:
    """The module on the backup host."""
    module = load("_modules/master_state.py", pillar={"backup": {"master_copies": str(tmp_path)}})
    return module


def test_a_copy_is_kept_for_root_alone(host: Any, tmp_path: Path) -> None:
    """O9, X6: Copies are kept for as many days as the settings say, and the newest in any case."""
    assert host.stored() == []
    for name in NAMES:
        (tmp_path / name).write_text("old")
    (tmp_path / "another").write_text("not a copy")
    new = master_state.name(datetime.now(UTC))
    path = host.store(new, base64.b64encode(b"encrypted").decode(), 14)
    assert Path(path).read_bytes() == b"encrypted" and Path(path).stat().st_mode & 0o777 == 0o600
    assert host.stored() == [new]
    assert (tmp_path / "another").exists()


def test_only_copies_are_stored(host: Any) -> None:
    """X6: A name cannot lead out of the directory."""
    with pytest.raises(CommandExecutionError, match="is not valid"):
        host.store("../../etc/passwd", "", 14)
