"""This project's addon stores a file wholly, or tells the user that it could not (S5).

Odoo is only pretended: its class has what the addon uses of it.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.conftest import REPOSITORY

ADDONS = REPOSITORY / "salt/odoo/files/addons"
FILE, STORING = ADDONS / "salina_held/attachment.py", ADDONS / "salina_held/storing.py"
SHA1 = "0a4d55a8d778e5022fab701977c5d840bbc486d0"
NAME = f"{SHA1[:2]}/{SHA1}"


class UserError(Exception):
    """An error whose text Odoo shows to the user."""


class IrAttachment:
    """Odoo's attachments, as far as they concern the file store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marked: list[str] = []
        self.locks: list[str] = []
        self.env = SimpleNamespace(cr=SimpleNamespace(execute=self.locks.append))

    def _full_path(self, name: str) -> str:
        return str(self.folder / name)

    def _get_path(self, _: bytes, checksum: str) -> tuple[str, str]:
        path = self.folder / checksum[:2] / checksum
        if not os.path.isdir(path.parent):
            os.makedirs(path.parent)
        return NAME, str(path)

    def _mark_for_gc(self, name: str) -> None:
        self.marked.append(name)

    def stored(self) -> list[str]:
        """Return the files that the store has."""
        return [path.name for path in self.folder.rglob("*") if path.is_file()]


def addon(path: Path) -> ModuleType:
    """Load a file of an addon."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def attachments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Odoo's attachments with the addon."""
    pretended = {
        "odoo": {"api": ModuleType("odoo.api")},
        "odoo.addons.base.models.ir_attachment": {"IrAttachment": IrAttachment},
        "odoo.exceptions": {"UserError": UserError},
        "odoo.addons.salina_held.storing": {},
    }
    vars(pretended["odoo"]["api"])["model"] = lambda function: function
    for name, content in pretended.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(IrAttachment, "_file_write", None, raising=False)  # restored afterwards
    vars(sys.modules["odoo.addons.salina_held.storing"])["locking"] = addon(STORING).locking
    module = addon(FILE)
    monkeypatch.setattr(module, "_logger", SimpleNamespace(exception=lambda *_: None))
    yield IrAttachment(tmp_path / "filestore")


def failing(code: int) -> Any:
    """Return a function that fails as the system does."""

    def function(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    return function


def test_a_file_is_stored_whole_and_marked(attachments: Any) -> None:
    assert attachments._file_write(b"content", SHA1) == NAME
    assert attachments.locks == ["LOCK ir_attachment IN ROW EXCLUSIVE MODE"]
    assert attachments.stored() == [SHA1]
    assert (attachments.folder / NAME).read_bytes() == b"content"
    assert attachments.marked == [NAME]


def test_a_file_that_is_there_is_not_written_again(attachments: Any) -> None:
    attachments._file_write(b"content", SHA1)
    before = (attachments.folder / NAME).stat()
    assert attachments._file_write(b"content", SHA1) == NAME
    assert (attachments.folder / NAME).stat() == before
    assert attachments.marked == [NAME]


def test_another_host_makes_the_same_directory(
    attachments: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S5: Two first files of one directory, uploaded on two hosts, are both stored."""
    attachments.folder.mkdir()
    make = os.mkdir

    def mkdir(path: Any, *arguments: Any, **keywords: Any) -> None:
        make(path)  # the other host
        make(path, *arguments, **keywords)

    monkeypatch.setattr(os, "mkdir", mkdir)
    assert attachments._file_write(b"content", SHA1) == NAME


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "No space left on device"),
        (errno.EROFS, "Read-only file system"),
        (errno.ENOTCONN, "Transport endpoint is not connected"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("function", ["makedirs", "open", "fsync", "rename"])
def test_an_upload_that_cannot_be_stored_is_the_users_error(
    attachments: Any, monkeypatch: pytest.MonkeyPatch, function: str, code: int, words: str
) -> None:
    """S5: Whichever call reports it and whatever it is, nothing of the upload remains."""
    with monkeypatch.context() as broken:
        target = "builtins.open" if function == "open" else f"os.{function}"
        broken.setattr(target, failing(code))
        with pytest.raises(UserError) as caught:
            attachments._file_write(b"content", SHA1)
    assert str(caught.value).startswith(f"The file could not be stored ({words}).")
    assert attachments.stored() == []
    assert attachments.marked == []
    assert attachments._file_write(b"content", SHA1) == NAME  # later
