"""Files are whole or as they were, also on a full disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError

from salina.common import file


def test_put(tmp_path: Path) -> None:
    file.put(tmp_path / "file", "one")
    file.put(tmp_path / "file", b"two", 0o600)
    assert (tmp_path / "file").read_text() == "two"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """K2, K5: The old file stays, nothing else remains, and the error names the file and the
    cause.
    """

    def full(path: str, mode: int) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "file"
    target.write_text("old")
    monkeypatch.setattr(os, "chmod", full)
    with pytest.raises(CommandExecutionError, match=r"^/.*/file can't be written: No space"):
        file.put(target, "new")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(CommandExecutionError, match="file can't be written: No such file or"):
        file.put(tmp_path / "absent" / "file", "new")
