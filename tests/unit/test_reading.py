"""Files that are not what they should be: one readable line each, no traceback and no hang."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from salina.common import reading
from salina.common.reading import UnreadableError

OTHER = 65534
"""The number of a user without rights: `nobody`."""


def loop(file: Path) -> None:
    """Make a link to itself."""
    file.symlink_to(file.name)


def dangling(file: Path) -> None:
    """Make a link to a file of a file system that is not mounted."""
    file.symlink_to("/unmounted/members.json")


def device(file: Path) -> None:
    """Make a link to a device that never ends."""
    file.symlink_to("/dev/zero")


def listening(file: Path) -> None:
    """Make a socket."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(file))


def large(file: Path) -> None:
    """Make a file of a petabyte, which needs no room on the disk."""
    with file.open("wb") as handle:
        handle.truncate(2**42)


def latin(file: Path) -> None:
    """Make a file that is not UTF-8."""
    file.write_bytes(b"\xe9")


CASES: list[tuple[Callable[[Path], object], str]] = [
    (os.mkfifo, "it is a named pipe; put a regular file in its place"),
    (Path.mkdir, "it is a directory; put a regular file in its place"),
    (device, "it is a device; put a regular file in its place"),
    (listening, "it is a socket; put a regular file in its place"),
    (loop, "links lead back to themselves; put a regular file in their place"),
    (
        dangling,
        "it is a link to /unmounted/members.json, which does not exist; restore that, or remove "
        "the link",
    ),
    (large, "it is too large; it must have at most 5000000 bytes"),
    (latin, "it is not text in UTF-8; save it as UTF-8"),
]


@pytest.mark.parametrize(("make", "reason"), CASES, ids=[one[0].__name__ for one in CASES])
def test_something_else_in_the_place_of_a_file(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    file = tmp_path / "file"
    make(file)
    with pytest.raises(UnreadableError) as caught:
        reading.text(file)
    assert caught.value.strerror == reason
    assert str(caught.value) == f"{file}: {reason}"
    assert not isinstance(caught.value, FileNotFoundError)


def test_a_missing_file_and_a_link_to_one(tmp_path: Path) -> None:
    """A file may be missing at first; what a link promises must be there."""
    with pytest.raises(FileNotFoundError):
        reading.read(tmp_path / "none" / "file")
    good = tmp_path / "file"
    good.write_text("x")
    (tmp_path / "link").symlink_to(good)
    assert reading.read(tmp_path / "link") == b"x"


def test_a_folder_on_the_way(tmp_path: Path) -> None:
    """A state directory that is a file, or whose own link leads nowhere."""
    (tmp_path / "state").write_text("")
    with pytest.raises(UnreadableError) as caught:
        reading.read(tmp_path / "state" / "members.json")
    reason = f"{tmp_path}/state is not a directory; put a directory in its place"
    assert caught.value.strerror == reason
    (tmp_path / "away").symlink_to("/unmounted")
    with pytest.raises(UnreadableError) as caught:
        reading.read(tmp_path / "away" / "members.json")
    assert caught.value.strerror == (
        f"{tmp_path}/away is a link to /unmounted, which does not exist; restore that, or remove "
        "the link"
    )


def test_the_names_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    assert reading.names(folder) == []
    folder.write_text("")
    with pytest.raises(UnreadableError) as caught:
        reading.names(folder)
    assert caught.value.strerror == "it is not a directory; put a directory in its place"
    folder.unlink()
    folder.mkdir()
    (folder / "b").touch()
    (folder / ".a").touch()
    assert reading.names(folder) == [".a", "b"]


def test_what_is_read_is_noted(tmp_path: Path) -> None:
    """A result counts as long as the stamps of its files and folders stay the same."""
    file, folder, missing = tmp_path / "file", tmp_path / "folder", tmp_path / "missing"
    file.write_text("x")
    folder.mkdir()
    with reading.noting() as noted:
        reading.read(file)
        reading.names(folder)
        with pytest.raises(FileNotFoundError):
            reading.read(missing)
    reading.read(__file__)
    assert set(noted) == {str(file), str(folder), str(missing)}

    def changed() -> list[str]:
        return [path for path, stamp in noted.items() if reading.stamp(path) != stamp]

    assert changed() == []
    file.chmod(0o600)
    assert changed() == [str(file)]
    (folder / "new").touch()
    missing.symlink_to("/unmounted/file")
    assert changed() == [str(file), str(folder), str(missing)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory that another user reaches, although pytest keeps its own closed."""
    opened = [one for one in tmp_path.parents if str(one).startswith("/tmp/")]
    modes = {one: one.stat().st_mode for one in (*opened, tmp_path)}
    for one in modes:
        one.chmod(0o755)
    yield tmp_path
    for one, mode in modes.items():
        one.chmod(mode)


def as_other(function: str, path: Path) -> str:
    """Return what a function of the module says about a path to a user without rights."""
    code = Path(reading.__file__).read_text() + "\n"  # which that user may be unable to reach
    code += "" if os.geteuid() else f"os.setgid({OTHER}); os.setuid({OTHER})\n"
    code += f"try: print({function}({str(path)!r}))\n"
    code += "except OSError as error: print(error.strerror)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_no_permission(place: Path) -> None:
    """The master need not be root: each line names the user, and what is closed to it."""
    file = place / "folder" / "file"
    file.parent.mkdir()
    file.write_text("x")
    remedy = "change the owner or the mode"
    file.chmod(0)
    assert as_other("read", file).endswith(f"has no permission to read it; {remedy}")
    file.chmod(0o644)
    file.parent.chmod(0)
    try:
        for path in (file, file.parent / "other"):
            ending = f"has no permission to enter {file.parent}; {remedy}"
            assert as_other("read", path).endswith(ending)
        closed = f"has no permission to enter {file.parent}; {remedy}"
        assert as_other("names", file.parent).endswith(closed)
        file.parent.chmod(0o744)  # its names can be read, but not its files
        assert as_other("names", file.parent).endswith(closed)
        assert as_other("read", file).endswith(closed)
        file.parent.chmod(0o711)  # and the other way round
        opened = f"has no permission to read it; {remedy}"
        assert as_other("names", file.parent).endswith(opened)
    finally:
        file.parent.chmod(0o755)
