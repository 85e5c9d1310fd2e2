"""Files are whole or as they were, also on a full disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError

from salina.common import file as salina_file


def test_put(tmp_path: Path) -> None:
    salina_file.put(tmp_path / "file", "one")
    salina_file.put(tmp_path / "file", b"two", 0o600)
    assert (tmp_path / "file").read_text() == "two"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """K2, K5: The old file stays, nothing else remains, and the error names the file and the
    cause.
    """

    def full(path: str, mode: int) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "file"
    file.write_text("old")
    monkeypatch.setattr(os, "chmod", full)
    with pytest.raises(CommandExecutionError, match=r"^/.*/file can't be written: No space"):
        salina_file.put(file, "new")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(CommandExecutionError, match="file can't be written: No such file or"):
        salina_file.put(tmp_path / "absent" / "file", "new")
