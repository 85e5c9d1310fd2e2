"""Releases on app hosts: one host builds, the others unpack, and each activates in its turn."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.application import release
from salina.application.release import Release
from salina.common import master as questions
from salina_fleet.change import releases
from salina_fleet.change.releases import LEASE, Built
from tests import fleets
from tests.loading import failure, load, never
from tests.releases import DIGEST, NAME, NEXT, Database, change, complete

ZSTD = shutil.which("zstd")
node: Any = load("_modules/node.py")
URL, LOG = "http://127.0.0.1:8069/web/health", "/var/log/odoo/odoo.log"
OLDEST = "c0ffee000000-00000000"
Result = dict[str, Any]


class KilledError(BaseException):
    """The job was killed at this moment."""


def run_all(argv: list[str], **options: Any) -> dict[str, Any]:
    """`cmd.run_all` as Salt has it, for real."""
    assert options.pop("python_shell") is False
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **options)
    return {"retcode": done.returncode, "stdout": done.stdout.strip(), "stderr": done.stderr}


class Master:
    """The master's records of one application, the runners that its hosts ask, and its database."""

    def __init__(self) -> None:
        self.built: dict[str, Built] = {}
        self.former: set[str] = set()
        """The releases that nobody builds any more."""
        self.database = Database()
        self.parts: dict[str, dict[str, str]] = {}
        """The parts of each release with their checksums. By default all releases have the same."""
        self.now = 0.0
        self.asked: list[tuple[str, ...]] = []
        self.answers: Callable[[], Any] = lambda: None
        """Runs before each answer. It may return another answer."""

    def runner(self, host: str) -> Callable[..., Any]:
        """Return `publish.runner` as a host has it."""

        def ask(function: str, arg: list[str]) -> Any:
            self.asked.append((host, function, *arg))
            if (other := self.answers()) is not None:
                return other
            refused = ""
            if arg[0] in self.former:
                known = self.built.get(arg[0], Built("", 0))
                refused = "" if known.digest else f"{arg[0]} is not the release any more"
                return {"digest": known.digest, "host": known.host, "obstacle": refused}
            if function == "application.build":
                self.built, digest, refused = releases.build(self.built, arg[0], host, self.now)
            else:
                assert function == "application.built"
                self.built, digest, refused = releases.finish(
                    self.built, arg[0], host, arg[1], self.now
                )
            builder = self.built[arg[0]].host if digest else ""
            return {"digest": digest, "host": builder, "obstacle": refused}

        return ask


class Host:
    """An app host with its own disk. The volume and the master are common to all hosts."""

    def __init__(self, name: str, master: Master, place: Path) -> None:
        self.name, self.root, self.master = name, place / name, master
        self.store = place / "nas/releases/crm"
        self.builds, self.staged = 0, ""
        self.dies = ""
        self.checked: list[tuple[str, ...]] = []
        self.configured: list[str] = []
        self.commands: list[str] = []
        self.calls: list[str] = []
        self.failed: list[str] = []
        self.running, self.unhealthy = True, {NAME: "", NEXT: ""}
        source = {"repository": "https://git.example/odoo.git", "commit": fleets.COMMIT}
        # the kind's name is the host's, because the directories on a host are named after the kind
        self.app: dict[str, Any] = {
            "kind": name,
            "name": "odoo-14.0",
            "database": {"name": "crm"},
            "definition": {"source": source},
        }
        self.wants(NAME)
        salt: dict[str, Any] = {
            "publish.runner": master.runner(name),
            "cmd.run_all": self.run,
            "checkout.revision": lambda path: self.staged,
            "checkout.update": self.check_out,
            f"{name}.build": self.build,
            f"{name}.configure": lambda: self.configured.append(self.module.active()),
            f"{name}.checksums": self.checksums,
            f"{name}.differing": node.differing,
            "service.status": lambda service: self.running,
            "service.reload": lambda service: self.note("reload", service),
        }
        self.salt_of_module = salt
        self.module: Any = load("_modules/release.py", salt=salt, pillar={"app": self.app})
        self.schema: Any = load("_modules/schema.py", salt=salt, pillar={"app": self.app})
        self.schema.session = master.database.session  # type: ignore[attr-defined]
        salt["schema.obstacle"] = self.schema.obstacle
        self.module.NGINX = str(self.root / "nginx/release.map")
        if not ZSTD:
            self.module.TAR = ("tar", "--numeric-owner")
        functions = {
            f"release.{one}": getattr(self.module, one)
            for one in (
                *("complete", "changed", "stored", "build", "obtain", "put", "active", "older"),
                *("activate", "restore", "surplus", "remove", "due", "fetch", "wait", "waits"),
            )
        }
        self.salt = functions | {
            "service.status": lambda service: self.running,
            "service.stop": lambda service: self.note("stop", service),
            "service.start": lambda service: self.note("start", service),
            "turn.take": lambda role, what: self.note("take", role),
            "turn.needed": lambda role: role == "app",
            "turn.renew": lambda: None,
            "turn.fail": lambda reason: self.failed.append(reason),
            "application.health": self.health,
            "application.database": lambda: master.database.down,
            "schema.record": self.schema.record,
            "schema.unknown": self.schema.unknown,
        }

    def wants(self, name: str) -> None:
        """Let the definition want a release."""
        source = self.app["definition"]["source"]
        main = {**source, "directory": "", "submodules": False, "key": None, "known_hosts": []}
        wanted = {"name": name, "directory": self.directory(name), "store": str(self.store)}
        self.app["release"] = {**wanted, "checkouts": [main]}

    def release(self, name: str = NAME) -> Release:
        """Return a release of this host."""
        return Release(self.root / "releases" / name)

    def directory(self, name: str = NAME) -> str:
        """Return the directory of a release of this host."""
        return str(self.release(name).directory)

    @property
    def production(self) -> Path:
        """Return the link to the release that runs."""
        return self.root / "production"

    def has(self, *names: str) -> None:
        """Have releases here, and their archives in the store."""
        self.store.mkdir(parents=True, exist_ok=True)
        for name in names:
            own = self.release(name)
            if not own.directory.exists():
                complete(own.directory)
            (self.store / own.archive.name).touch()

    def used(self, *names: str) -> None:
        """Have releases here and in the store, of which the last one was used last."""
        self.store.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            own = self.release(name)
            if not own.directory.exists():
                complete(own.directory)
            for archive in (own.archive, self.store / own.archive.name):
                archive.touch()
                os.utime(archive, (number, number))

    def states(self, test: bool = False) -> Any:
        """Return the states, as this host has them."""
        return load("_states/release.py", salt=self.salt, opts={"test": test})

    def present(self, test: bool = False) -> Result:
        """Ensure that the host has the release."""
        ret: Result = self.states(test).present(self.directory(), str(self.store), 0)
        return ret

    def first(self, test: bool = False) -> Result:
        """Ensure that the host has a release to begin with."""
        directory = self.app["release"]["directory"]
        ret: Result = self.states(test).first(directory, str(self.store), 5)
        return ret

    def active(self, test: bool = False, **given: Any) -> Result:
        """Ensure that the service uses the release."""
        directory, options = self.app["release"]["directory"], {"wait": 0} | given
        ret: Result = self.states(test).active(
            directory, str(self.store), "odoo", "app", URL, LOG, **options
        )
        return ret

    def checksums(self, directory: str) -> dict[str, str]:
        """Return the parts of a release, or of the checkout in the place of the link."""
        name = release.active(directory) or Path(directory).name
        return self.master.parts.get(name, {"crm": "00"})

    def run(self, argv: list[str], **options: Any) -> dict[str, Any]:
        """Run tar for real."""
        self.commands.append(" ".join(argv))
        found = run_all(argv, **options)
        if self.dies == "pack" and "--create" in argv:
            raise KilledError
        return found

    def check_out(self, path: str, repository: str, commit: str, *_: Any) -> None:
        """Pretend that git checked a commit out."""
        self.checked.append((path, repository, commit))
        if path.endswith("/staging"):
            self.staged = commit
            return
        place = Path(path)
        (place / ".git").mkdir(parents=True)
        (place / "odoo-bin").write_text(f"code of {commit}")
        (place / "odoo-bin").chmod(0o755)
        os.utime(place / "odoo-bin", (1_600_000_000, 1_600_000_000))

    def build(self, directory: str) -> None:
        """Pretend that an environment was built: each build has other bytes."""
        self.builds += 1
        programs = Path(directory, ".venv/bin")
        programs.mkdir(parents=True)
        if self.dies == "build":
            (programs / "half").touch()
            raise KilledError
        (programs / "python").symlink_to("/usr/bin/python3")
        (programs / "pip").write_text(f"built by {self.name}, number {self.builds}")
        (programs / "pip.pyc").write_text("compiled")

    def note(self, what: str, name: str) -> None:
        """Note a call, with the release that the service would start with at this moment."""
        self.calls.append(f"{what} {name}: {release.active(self.production)}")

    def health(self, url: str, cookie: str | None) -> str:
        """Return why the release that runs does not answer."""
        self.note("ask", url)
        return self.unhealthy.get(release.active(self.production), "")


@pytest.fixture
def master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Master:
    """The master, and app hosts whose directories are below `tmp_path`."""
    monkeypatch.setattr(release, "releases", lambda kind: str(tmp_path / kind / "releases"))
    monkeypatch.setattr(release, "production", lambda kind: str(tmp_path / kind / "production"))
    return Master()


@pytest.fixture
def s1(master: Master, tmp_path: Path) -> Host:
    return Host("s1", master, tmp_path)


@pytest.fixture
def s2(master: Master, tmp_path: Path) -> Host:
    return Host("s2", master, tmp_path)


def tree(place: Path) -> dict[str, tuple[Any, ...]]:
    """Return what is in a directory: kind, mode, time and content of each path."""

    def shown() -> Iterator[tuple[str, tuple[Any, ...]]]:
        for path in sorted(place.rglob("*")):
            status, content = path.lstat(), ""
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = path.read_text(errors="replace")
            yield str(path.relative_to(place)), (status.st_mode, status.st_mtime_ns, content)

    return dict(shown())


def unpacked(host: Host) -> dict[str, tuple[Any, ...]]:
    """Return what is in a host's release."""
    return tree(host.release().directory)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# One host builds, and the others unpack


@pytest.mark.skipif(not ZSTD, reason="needs zstd")
def test_o1_the_other_hosts_get_the_same_bytes(master: Master, s1: Host, s2: Host) -> None:
    """O1, X10: s1 builds and stores the archive, and s2 unpacks exactly that."""
    assert s1.module.obtain(s1.directory(), str(s1.store)) == "this host built it for all"
    digest = s1.release().digest()
    assert master.built == {NAME: Built("s1", 0, digest)}
    archive = s1.store / f"{NAME}.tar.zst"
    assert digest == sha256(archive) == sha256(s1.release().archive)
    for path in (archive, s1.release().archive):
        assert path.stat().st_mode & 0o777 == 0o600
    assert s1.store.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in s1.store.iterdir()] == [archive.name]

    assert s2.module.obtain(s2.directory(), str(s2.store)) == "it was unpacked"
    found = unpacked(s1)
    assert {*found} == {
        *("odoo-bin", ".venv", ".venv/bin", ".venv/bin/python", ".venv/bin/pip"),
        ".venv/bin/pip.pyc",
    }
    assert unpacked(s2) == found
    assert (s2.release().digest(), s2.release().commit()) == (digest, fleets.COMMIT)
    assert sha256(s2.release().archive) == digest
    assert (s1.builds, s2.builds) == (1, 0)
    assert {path.name for path in (s2.root / "releases").iterdir()} == {
        *(NAME, f"{NAME}.json", f"{NAME}.tar.zst"),
    }


@pytest.mark.skipif(not ZSTD, reason="needs zstd")
def test_x10_all_files_of_an_archive_belong_to_root(s1: Host) -> None:
    """X10: The service must not own its code, also not if the numbers of users differ."""
    s1.module.obtain(s1.directory(), str(s1.store))
    shown = subprocess.check_output([*s1.module.TAR, "-tvf", s1.release().archive], text=True)
    assert {line.split()[1] for line in shown.splitlines()} == {"0/0"}


def test_k1_a_complete_release_is_left_alone(master: Master, s1: Host) -> None:
    """K1: The next apply neither builds nor asks the master, and changes nothing."""
    assert s1.present()["changes"] == {"release": NAME}
    asked, found = len(master.asked), tree(s1.root)
    assert s1.module.obtain(s1.directory(), str(s1.store)) == "it was complete"
    ret = s1.present()
    assert (ret["result"], ret["changes"]) == (True, {})
    assert s1.states().built(s1.directory())["changes"] == {}
    assert (len(master.asked), tree(s1.root), s1.builds) == (asked, found, 1)


def test_o1_a_build_begins_with_the_recorded_commit(s1: Host) -> None:
    """O1, X10: Staging gets the commit from the repository, unless it has it, then the release."""
    s1.module.build(s1.directory())
    fetched = ("/opt/s1/staging", "https://git.example/odoo.git", fleets.COMMIT)
    cloned = (s1.directory(), "/opt/s1/staging", fleets.COMMIT)
    assert s1.checked == [fetched, cloned]
    assert not (s1.release().directory / ".git").exists()
    s1.release().remove()
    s1.module.build(s1.directory())
    assert s1.checked == [fetched, cloned, cloned]


def test_s15_a_new_fleet_builds_before_it_has_its_volume(
    master: Master, s1: Host, s2: Host
) -> None:
    """S15: One host builds, and the others go on without it."""
    ret = s1.states().built(s1.directory())
    assert (ret["result"], ret["changes"]) == (True, {"release": NAME})
    assert not s1.store.exists()
    master.now = 40
    ret = s2.states().built(s2.directory())
    assert (ret["result"], ret["changes"]) == (True, {})
    assert ret["comment"] == f"s1 builds release {NAME}, last heard of 40 s ago"
    s1.present()
    ret = s2.states().built(s2.directory())
    assert ret["comment"] == f"release {NAME} was built before"
    assert s2.builds == 0


def test_a_host_waits_for_the_one_that_builds(master: Master, s1: Host, s2: Host) -> None:
    """O1: It unpacks the release as soon as the archive is stored."""
    s1.module.build(s1.directory())
    waits = 0

    def later() -> None:
        nonlocal waits
        waits += master.asked[-1][0] == "s2"
        if waits == 3:
            master.answers = lambda: None
            s1.present()

    master.answers = later
    assert s2.module.obtain(s2.directory(), str(s2.store), 60) == "it was unpacked"
    assert waits == 3


def test_k5_who_is_waited_for(master: Master, s1: Host, s2: Host) -> None:
    """K5: The error names the host that builds, and since when nobody has heard of it."""
    s1.module.build(s1.directory())
    master.now = 40
    said = f"waited 0 s for release {NAME}: s1 builds release {NAME}, last heard of 40 s ago"
    assert failure(s2.present()) == said


def test_k2_the_next_host_builds_if_the_builder_died(master: Master, s1: Host, s2: Host) -> None:
    """S12, K2: A host that died while it built holds the others up for a limited time."""
    s1.dies = "build"
    with pytest.raises(KilledError):
        s1.present()
    master.now = LEASE - 1
    assert "s1 builds release" in failure(s2.present())
    master.now = LEASE
    assert s2.present()["comment"] == "this host built it for all"
    assert master.built == {NAME: Built("s2", LEASE, s2.release().digest())}


def test_s12_a_builder_is_heard_of_after_every_checkout(master: Master, s1: Host, s2: Host) -> None:
    """S12, K2: Several large repositories together take longer than the lease, and no other host
    may begin the same build meanwhile.
    """
    (main,) = s1.app["release"]["checkouts"]
    names = [release.beside_code(name) for name in ("oca", "custom")]
    s1.app["release"]["checkouts"] = [main, *({**main, "directory": name} for name in names)]
    usual, refused = s1.check_out, list[str]()

    def check_out(path: str, *given: Any) -> None:
        usual(path, *given)
        if path.startswith(s1.directory()):  # and not the checkout that it comes from
            master.now += LEASE - 1
            refused.append(failure(s2.present()))

    s1.salt_of_module["checkout.update"] = check_out
    assert s1.present()["comment"] == "this host built it for all"
    said = f"s1 builds release {NAME}, last heard of {LEASE - 1} s ago"
    assert len(refused) == 3 and all(said in one for one in refused)
    assert (s1.builds, s2.builds) == (1, 0)
    assert master.built == {NAME: Built("s1", 3 * (LEASE - 1), s1.release().digest())}


@pytest.mark.parametrize("moment", ["build", "pack"])
def test_k2_a_release_whose_builder_was_killed_is_built_again(
    master: Master, s1: Host, moment: str
) -> None:
    """K2: Without the record nothing counts, and nothing of the killed build remains."""
    s1.dies = moment
    with pytest.raises(KilledError):
        s1.present()
    assert s1.release().directory.exists() and not s1.release().record.exists()
    assert not s1.module.complete(s1.directory())
    (s1.release().directory / "left").touch()
    s1.dies = ""
    ret = s1.present()
    assert (ret["result"], ret["comment"]) == (True, "this host built it for all")
    assert s1.builds == 2
    names = {path.name for path in s1.release().directory.rglob("*")}
    assert names.isdisjoint({"left", "half"})
    assert master.built[NAME].digest == sha256(s1.store / f"{NAME}.tar.zst")


def test_k2_an_interrupted_unpacking_is_done_again(s1: Host, s2: Host) -> None:
    """K2: A killed host leaves an unfinished directory and an archive, and begins again."""
    s1.present()
    unfinished = Path(f"{s2.directory()}{release.UNFINISHED}")
    (unfinished / "half").mkdir(parents=True)
    s2.release().archive.write_text("half")
    assert s2.present()["comment"] == "it was unpacked"
    assert unpacked(s2) == unpacked(s1)
    assert not unfinished.exists()


def test_x10_an_archive_with_another_digest_is_not_unpacked(s1: Host, s2: Host) -> None:
    """X10, K5: Nothing replaces the directory that is there, and the error has both digests."""
    s1.present()
    archive = s1.store / f"{NAME}.tar.zst"
    good = archive.read_bytes()
    archive.write_bytes(good + b"foreign")
    s2.release().directory.mkdir(parents=True)
    (s2.release().directory / "mine").touch()
    inode = s2.release().directory.stat().st_ino
    said = failure(s2.present())
    digest = s1.release().digest()
    assert f"{archive}: its SHA-256 is {sha256(archive)}, but must be {digest}" in said
    assert "it was not unpacked" in said
    assert not [line for line in s2.commands if "--extract" in line]
    assert [path.name for path in (s2.root / "releases").iterdir()] == [NAME]
    assert s2.release().directory.stat().st_ino == inode
    assert [path.name for path in s2.release().directory.iterdir()] == ["mine"]
    archive.write_bytes(good)
    assert s2.present()["result"] is True
    assert unpacked(s2) == unpacked(s1)


def test_x10_the_first_digest_counts(master: Master, s1: Host, s2: Host) -> None:
    """X10, O1: If two hosts have built the same release, the slower one takes the other's."""
    s1.states().built(s1.directory())
    master.now = LEASE
    s2.states().built(s2.directory())
    assert s1.release().digest() != s2.release().digest()
    s2.present()
    assert master.built == {NAME: Built("s2", LEASE, s2.release().digest())}
    (s2.store / f"{NAME}.tar.zst").rename(s2.store / "kept")
    before = tree(s1.release().directory)
    said = f"another host has built it as well, and {s1.store} does not have its archive yet"
    assert said in failure(s1.present())
    assert tree(s1.release().directory) == before
    (s2.store / "kept").rename(s2.store / f"{NAME}.tar.zst")
    ret = s1.present()
    assert ret["comment"] == "it was unpacked, because another host had built it before"
    assert s1.present()["changes"] == {}
    assert s1.release().digest() == s2.release().digest()
    assert unpacked(s1) == unpacked(s2)
    assert (s1.builds, s2.builds) == (1, 1)


def test_an_archive_that_the_volume_lost_is_put_back(master: Master, s1: Host, s2: Host) -> None:
    """S4, O1: Every host that has the release has its archive, also one that unpacked it."""
    s1.present()
    archive = s1.store / f"{NAME}.tar.zst"
    recorded = master.built
    for host in (s1, s2):
        host.present()
        archive.unlink()
        ret = host.present()
        assert (ret["result"], ret["changes"]) == (True, {"release": NAME})
        assert ret["comment"] == "its archive was stored"
        assert sha256(archive) == recorded[NAME].digest
    assert (master.built, s1.builds, s2.builds) == (recorded, 1, 0)


def test_k5_an_archive_that_is_nowhere(master: Master, s1: Host, s2: Host) -> None:
    """K5: The error says how another host may build the release again."""
    s1.present()
    (s1.store / f"{NAME}.tar.zst").unlink()
    said = failure(s2.present())
    assert f"{s2.store}/{NAME}.tar.zst is missing, although the release was built" in said
    assert "next: apply the states of s1, which puts it back" in said
    assert said.endswith(f"salt-run application.forget crm {NAME}")
    assert s2.builds == 0
    master.built = {}
    assert s2.present()["comment"] == "this host built it for all"
    s1.release().archive.unlink()
    (s1.store / f"{NAME}.tar.zst").unlink()
    master.built = {}
    said = failure(s1.present())
    assert said.startswith(f"{s1.release().archive}: its SHA-256 is missing, but must be ")
    assert f"delete {s1.release().record}" in said


def test_k5_a_lost_archive_is_found_out_soon(
    master: Master, s1: Host, s2: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5, S10: It is not waited for as long as a build. One that is just being put back is."""
    s1.present()
    archive = s1.store / f"{NAME}.tar.zst"
    archive.unlink()
    monkeypatch.setattr(s2.module, "LOST", 0)
    with pytest.raises(CommandExecutionError, match="is missing, although the release was built"):
        s2.module.obtain(s2.directory(), str(s2.store), 900)
    monkeypatch.setattr(s2.module, "LOST", 60)
    aside = archive.with_name(f".{archive.name}.s1.put")
    aside.write_bytes(b"the first half")
    assert s2.module._arriving(s2.release(), s2.store)
    os.utime(aside, (1, 1))  # its host has died
    assert not s2.module._arriving(s2.release(), s2.store)
    asked = 0

    def later() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            master.answers = lambda: None
            s1.present()

    master.answers = later
    assert s2.module.obtain(s2.directory(), str(s2.store), 30) == "it was unpacked"
    assert asked == 2


def test_x10_a_host_stores_no_archive_that_changed_on_its_disk(s1: Host, s2: Host) -> None:
    """X10, K5: The other hosts would refuse it, and the volume would have no good one."""
    s1.present()
    s2.present()
    own, archive = s1.release(), s1.store / f"{NAME}.tar.zst"
    archive.unlink()
    own.archive.write_bytes(b"rotten")
    said = failure(s1.present())
    assert f"its SHA-256 is {sha256(own.archive)}, but must be {own.digest()}" in said
    assert list(s1.store.iterdir()) == []
    assert s2.present()["comment"] == "its archive was stored"
    own.record.unlink()
    assert s1.present()["comment"] == "it was unpacked"
    assert sha256(own.archive) == own.digest() == sha256(archive)


def test_k5_the_master_gives_no_answer(master: Master, s1: Host) -> None:
    """K5: Nothing is built without the master."""
    master.answers = lambda: False
    said = "the master gave no answer to application.build: none"
    assert said in failure(s1.present())
    assert s1.states().built(s1.directory())["comment"] == said
    assert s1.builds == 0


def test_k5_the_master_refuses_a_release(master: Master, s1: Host) -> None:
    """K5, X10: The archive of a release that is not recorded does not go to the volume."""
    s1.module.build(s1.directory())
    refused = f"{NAME} is not the release of crm any more, which is {NEXT}"
    master.answers = lambda: {"digest": "", "obstacle": refused}
    assert failure(s1.present()) == refused
    assert list(s1.store.iterdir()) == []


def test_a_forgotten_release_is_recorded_again(master: Master, s1: Host, s2: Host) -> None:
    """K5: The next host without the release builds it, and replaces the archive that is there."""
    s1.present()
    master.built = {}
    assert s2.present()["comment"] == "this host built it for all"
    assert (
        master.built[NAME].digest == s2.release().digest() == sha256(s1.store / f"{NAME}.tar.zst")
    )
    assert s1.present()["changes"] == {}  # until somebody deletes its record
    s1.release().record.unlink()
    assert s1.present()["comment"] == "it was unpacked"
    assert unpacked(s1) == unpacked(s2)


def test_what_a_killed_build_left_goes(s1: Host) -> None:
    """K2: Directories without a record, unfinished copies of yesterday, and older environments."""
    s1.present()
    s1.module.activate(s1.directory())
    (s1.root / "releases" / f"{NEXT}.unfinished").mkdir()
    (s1.root / "odoo-14.0").mkdir()
    old, new = (s1.store / f".{NAME}.tar.zst.{host}.put" for host in ("s2", "s3"))
    for path in old, new:
        path.touch()
    os.utime(old, (0, 0))
    gone = [f"{s1.directory(NEXT)}.unfinished", str(s1.root / "odoo-14.0"), str(old)]
    assert s1.states().kept(str(s1.store), 3)["changes"] == {"removed": gone}
    assert not [path for path in map(Path, gone) if path.exists()] and new.exists()
    assert s1.states().kept(str(s1.store), 3)["changes"] == {}


def test_a_checkout_gets_the_place_of_its_environment(s1: Host) -> None:
    """S12: The unit names the environment of a release, also while the checkout runs."""
    link, target = s1.production / ".venv", "/opt/odoo/odoo-14.0"
    assert s1.states().older_environment(str(link), target)["changes"] == {}
    s1.production.mkdir(parents=True)
    ret = s1.states(True).older_environment(str(link), target)
    assert (ret["result"], link.is_symlink()) == (None, False)
    assert s1.states().older_environment(str(link), target)["changes"] == {"link": target}
    assert os.readlink(link) == target


@pytest.mark.parametrize("answer", [None, "", False, "nonsense", ["x"], {"digest": ""}])
def test_an_answer_that_is_none(answer: Any) -> None:
    """K5: A runner that is missing, or forbidden, gives an answer of another form."""
    asked: list[Any] = []

    def runner(function: str, arg: list[str]) -> Any:
        asked.append((function, arg))
        return answer

    found = questions.ask({"publish.runner": runner}, "turn.take", "app", "odoo")
    assert found == {"obstacle": f"the master gave no answer to turn.take: {answer or 'none'}"}
    assert asked == [("turn.take", ["app", "odoo"])]


# Files that somebody changed


def test_o1_files_changed_by_hand_are_reported(s1: Host) -> None:
    """O1: Changed and new files count; compiled Python and links of the states do not."""
    s1.present()
    own = s1.release()
    assert s1.module.changed(s1.directory()) == []
    change(own, ".venv/bin/pip.pyc")
    change(own, ".venv/new.pyc")
    (own.directory / "uploads").symlink_to("/mnt/nas/crm/uploads")
    assert s1.module.changed(s1.directory()) == []
    found = [change(own, name) for name in (".venv/bin/pip", "new.py", "odoo-bin")]
    os.utime(own.directory / "odoo-bin", (1_600_000_000, 1_600_000_000))
    assert s1.module.changed(s1.directory()) == found


def test_k5_a_release_changed_by_hand_is_left_alone(s1: Host) -> None:
    """K5, S12: The error names the files and says how to discard the change, which works.

    A service that runs has read the changed files, so it must restart.
    """
    s1.present()
    own = s1.release()
    changed = change(own, "odoo-bin")
    for test in (False, True):
        said = failure(s1.present(test))
        assert f"{own.directory}: 1 files were changed by hand ({changed})" in said
        assert f"`rm {own.record}` discards it at the next apply" in said
        assert Path(changed).read_text() == "by hand"
    s1.module.activate(s1.directory())
    marker = release.marker(s1.production)
    before = marker.stat().st_ino
    assert "changed by hand" in failure(s1.present())
    own.record.unlink()
    assert s1.present()["comment"] == "it was unpacked"
    assert Path(changed).read_text() == f"code of {fleets.COMMIT}"
    assert (s1.present()["result"], s1.builds) == (True, 1)
    assert (s1.module.active(), marker.stat().st_ino == before) == (NAME, False)


def test_many_changed_files_are_counted(s1: Host) -> None:
    s1.present()
    for number in range(7):
        change(s1.release(), f"{number}.py")
    said = failure(s1.present())
    assert "7 files were changed by hand" in said
    assert "4.py" in said and "5.py" not in said


# The release that runs


def test_a_release_is_activated_and_the_former_one_restored(s1: Host) -> None:
    """S12: A link leads to the release, and a file tells services that started before."""
    complete(s1.release().directory)
    complete(s1.release(NEXT).directory)
    assert (s1.module.active(), s1.module.older()) == ("", False)
    marker = release.marker(s1.production)
    for name, call in (
        (NAME, lambda: s1.module.activate(s1.directory())),
        (NEXT, lambda: s1.module.activate(s1.directory(NEXT))),
        (NAME, lambda: s1.module.restore(NAME)),
    ):
        before = marker.stat().st_ino if marker.exists() else None
        call()
        assert s1.module.active() == name
        assert (s1.production / "code.py").read_text() == name
        assert json.loads(marker.read_text()) == {"release": name}
        assert marker.stat().st_ino != before
    assert s1.configured == [NAME, NEXT, NAME]  # its configuration may depend on the release
    assert {path.name for path in s1.root.iterdir()} == {"releases", "production", marker.name}


def test_k2_an_interrupted_activation_is_done_again(s1: Host) -> None:
    """K2: The link that a killed job prepared is in nobody's way."""
    complete(s1.release().directory)
    Path(f"{s1.production}{release.UNFINISHED}").symlink_to("/nowhere")
    s1.module.activate(s1.directory())
    assert s1.module.active() == NAME


def test_an_incomplete_release_is_not_activated(s1: Host) -> None:
    """K5: The service never starts with half a release."""
    s1.release().directory.mkdir(parents=True)
    for text in ("", "{}", '{"commit": "c0ffee"}'):
        if text:
            s1.release().record.write_text(text)
        with pytest.raises(CommandExecutionError, match=f"{NAME} is not complete"):
            s1.module.activate(s1.directory())
    assert not s1.production.exists()


def test_a_checkout_from_before_there_were_releases(s1: Host) -> None:
    """S12: The directory makes room for the link, and comes back if the release fails."""
    complete(s1.release().directory)
    s1.production.mkdir()
    (s1.production / "odoo-bin").touch()
    assert (s1.module.active(), s1.module.older()) == ("", True)
    s1.module.activate(s1.directory())
    assert (s1.module.active(), s1.module.older()) == (NAME, False)
    older = Path(f"{s1.production}.older")
    assert (older / "odoo-bin").exists()
    s1.module.restore("")
    assert (s1.module.active(), s1.module.older()) == ("", True)
    assert (s1.production / "odoo-bin").exists() and not older.exists()
    s1.module.activate(s1.directory())  # the next apply tries again
    assert s1.module.active() == NAME
    assert s1.module.surplus(str(s1.store), 3) == [str(older)]
    s1.module.remove([str(older)])
    assert not older.exists()


def test_without_a_former_release_nothing_is_restored(s1: Host) -> None:
    complete(s1.release().directory)
    s1.module.activate(s1.directory())
    s1.module.restore("")
    assert s1.module.active() == NAME


def test_the_status_of_a_host(s1: Host) -> None:
    """O1: An operator sees the release that runs, since when, and the others."""
    nothing = {"runs": "", "commit": "", "since": "", "waits": "", "kept": []}
    assert s1.module.status() == nothing
    for number, name in enumerate((NEXT, OLDEST, NAME)):
        own = complete(s1.release(name).directory, f"commit {number}")
        own.archive.touch()
        os.utime(own.archive, (number, number))
    (s1.root / "releases/other.json").write_text("{}")
    assert s1.module.status() == nothing | {"kept": [NEXT, OLDEST, NAME]}
    s1.module.activate(s1.directory(OLDEST))
    os.utime(release.marker(s1.production), (1_700_000_000, 1_700_000_000))
    s1.module.wait(NAME)
    assert s1.module.status() == {
        "runs": OLDEST,
        "commit": "commit 1",
        "since": "2023-11-14 22:13:20",
        "waits": NAME,
        "kept": [NEXT, NAME],
    }


def test_a_host_without_an_application(tmp_path: Path) -> None:
    """K5: The error says so."""
    module = load("_modules/release.py", salt={}, pillar={})
    with pytest.raises(CommandExecutionError, match="this host does not have the role app"):
        module.status()


# The states of the release that runs


@pytest.mark.parametrize("older", [False, True])
def test_the_first_release_of_a_host(s1: Host, older: bool) -> None:
    """S9, S12: A host that runs something keeps it until its turn."""
    s1.has(NAME)
    if older:
        s1.production.mkdir()
    ret = s1.first()
    assert ret["result"] is True
    if older:
        assert (ret["changes"], ret["comment"]) == ({}, "this host runs a checkout")
        return
    assert ret["changes"] == {"release": {"old": None, "new": NAME}}
    assert s1.module.active() == NAME
    s1.has(NEXT)
    s1.wants(NEXT)
    ret = s1.first()
    assert (ret["changes"], ret["comment"]) == ({}, f"this host runs {NAME}")
    assert s1.module.active() == NAME


@pytest.fixture
def serving(s1: Host) -> Host:
    """s1 runs NEXT, and has NAME as well."""
    s1.has(NAME, NEXT)
    s1.module.activate(s1.directory(NEXT))
    return s1


def test_s12_a_stopped_service_stays_stopped(serving: Host) -> None:
    """S12: Only the link changes, because nobody uses the service."""
    serving.running = False
    ret = serving.active()
    assert ret["result"] is True
    assert ret["changes"]["release"] == {"old": NEXT, "new": NAME}
    assert (serving.module.active(), serving.calls) == (NAME, [])


def test_s12_new_code_starts_in_the_turn_of_its_host(serving: Host) -> None:
    """S12: The service is drained, then stopped, and starts with the new release."""
    ret = serving.active()
    assert ret["result"] is True
    moved = {"release": {"old": NEXT, "new": NAME}, "restart": "odoo"}
    assert ret["changes"] == moved | {"database": {"old": None, "new": NAME}}
    assert serving.calls == [
        f"take app: {NEXT}",
        f"stop odoo: {NEXT}",
        f"start odoo: {NAME}",
        f"ask {URL}: {NAME}",
    ]
    serving.calls.clear()
    ret = serving.active()
    assert (ret["result"], ret["changes"], serving.calls) == (True, {}, [])


def test_s12_a_host_without_its_turn_changes_nothing(serving: Host) -> None:
    """S12: The next hosts keep the release that they run."""

    def refuse(role: str, what: str) -> None:
        raise CommandExecutionError("s2 has the turn")

    serving.salt["turn.take"] = refuse
    assert failure(serving.active()) == "s2 has the turn"
    assert (serving.module.active(), serving.calls) == (NEXT, [])


def test_s12_the_turn_is_renewed_while_the_application_starts(serving: Host) -> None:
    """S12: A slow start does not lose the turn."""
    answers = iter(["", "starts", "starts"][::-1])
    serving.salt["turn.renew"] = lambda: serving.note("renew", "app")
    serving.salt["application.health"] = lambda url, cookie: next(answers)
    ret = serving.active(cookie="a=b", wait=60)
    assert ret["result"] is True
    assert serving.calls[3:] == [f"renew app: {NAME}"] * 3


def test_s12_the_former_release_serves_if_the_new_one_does_not_answer(serving: Host) -> None:
    """S12, K5: The host serves again, and the error names the log and the former release."""
    serving.unhealthy[NAME] = "status 500"
    said = failure(serving.active())
    assert said == (
        f"waited 0 s for {URL}: status 500 (see {LOG}); the former release {NEXT} runs again"
    )
    assert serving.calls == [
        f"take app: {NEXT}",
        f"stop odoo: {NEXT}",
        f"start odoo: {NAME}",
        f"ask {URL}: {NAME}",
        f"stop odoo: {NAME}",
        f"start odoo: {NEXT}",
    ]
    assert serving.module.active() == NEXT
    [failed] = serving.failed  # the other hosts get no turn for it
    assert failed == f"release {NAME} does not work: waited 0 s for {URL}: status 500"
    serving.unhealthy[NAME] = ""
    assert serving.active()["result"] is True
    assert serving.module.active() == NAME


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("service.start", CommandExecutionError("no such file")),
        ("release.activate", OSError(28, "No space left on device")),
        ("turn.renew", CommandExecutionError("the disk is full")),
    ],
)
def test_s12_the_former_release_serves_after_every_error(
    serving: Host, function: str, error: Exception
) -> None:
    """S12, K5: A service that was stopped for a release is started again, whatever failed."""
    usual = serving.salt[function]

    def fails(*given: Any) -> Any:
        serving.salt[function] = usual
        raise error

    serving.salt[function] = fails
    said = failure(serving.active())
    assert said.endswith(f"{error} (see {LOG}); the former release {NEXT} runs again")
    assert serving.module.active() == NEXT
    assert serving.calls[-1] == f"start odoo: {NEXT}"


def test_s12_a_checkout_from_before_serves_if_the_release_does_not_answer(s1: Host) -> None:
    """S12: The first release of an old host can fail as well."""
    s1.has(NAME)
    s1.production.mkdir()
    s1.unhealthy[NAME] = "status 500"
    said = failure(s1.active())
    assert said.endswith("; the former checkout runs again")
    assert s1.module.older()
    assert s1.calls[-1] == "start odoo: "
    s1.unhealthy[NAME] = ""
    assert s1.active()["changes"]["release"] == {"old": None, "new": NAME}


# The release that fits the database

OTHERS = {NAME: {"crm": "01", "sale": "00"}, NEXT: {"crm": "00", "sale": "00"}}
"""NAME changes the module crm."""
WAITS = (
    f"release {NAME} waits, because the database belongs to another version of crm; next: "
    "salt-run state.orchestrate orch.upgrade"
)


@pytest.fixture
def differing(serving: Host) -> Host:
    """s1 runs NEXT, to which the database belongs, and NAME is wanted, which changes a module."""
    serving.master.parts = OTHERS
    serving.master.database.belongs(NEXT, **OTHERS[NEXT])
    return serving


def due(name: str, *waits: str, recorded: str = NEXT) -> dict[str, Any]:
    """Return the answer to the question which release this host must run."""
    return {"name": name, "waits": [*waits], "recorded": recorded}


def waiting(ret: Result) -> None:
    """Check that a state only says that NAME waits."""
    assert (ret["result"], ret["changes"], ret["comment"]) == (None, {}, WAITS)
    assert ret["note"] is True


def test_s12_a_release_that_the_database_does_not_fit_waits(differing: Host) -> None:
    """S12, O8, K1: The host goes on with its release, and the apply says why, each time.

    The prediction says the same.
    """
    database = differing.master.database
    before = tree(differing.root)
    waiting(differing.active(test=True))
    assert tree(differing.root) == before
    differing.first(test=True)
    assert differing.module.waits() == ""
    for _ in range(2):
        differing.first()
        waiting(differing.active())
        assert (differing.module.active(), differing.module.waits()) == (NEXT, NAME)
    waiting(differing.active(test=True))
    assert (differing.calls, database.changes, database.release) == ([], [], NEXT)
    assert differing.module.due() == due(NEXT, "crm")


def test_s12_a_release_waits_no_longer_when_the_database_fits_it(differing: Host) -> None:
    """S12, O8: Then the next apply activates it, and nothing is noted any more."""
    differing.first()
    assert differing.module.waits() == NAME
    differing.active()
    differing.master.database.belongs(NAME, **OTHERS[NAME])
    differing.first()
    ret = differing.active()
    changes = {"release": {"old": NEXT, "new": NAME}, "restart": "odoo"}
    assert (ret["result"], ret["changes"]) == (True, changes)
    assert (differing.module.active(), differing.module.waits()) == (NAME, "")
    assert differing.master.database.changes == []
    assert not (differing.root / "waiting.json").exists()
    assert differing.active()["changes"] == {}


def test_s12_going_back_to_the_release_that_runs_ends_the_wait(differing: Host) -> None:
    """S12: The definition names the former release again, and nothing restarts."""
    differing.first()
    differing.active()
    differing.wants(NEXT)
    differing.first()
    ret = differing.active()
    assert (ret["result"], ret["changes"], differing.calls) == (True, {}, [])
    assert differing.module.waits() == ""


def test_s12_the_database_changes_while_a_host_waits_for_its_turn(differing: Host) -> None:
    """S12, O8: The host asks again in its turn, and stops nothing if another release is due."""
    database = differing.master.database
    database.belongs(NAME, **OTHERS[NAME])
    usual = differing.salt["turn.take"]

    def take(role: str, what: str) -> None:
        usual(role, what)
        database.belongs(NEXT, **OTHERS[NEXT])

    differing.salt["turn.take"] = take
    said = "the database changed while this host waited; apply again"
    assert failure(differing.active()) == said
    assert (differing.calls, differing.module.active()) == ([f"take app: {NEXT}"], NEXT)


def test_s4_a_former_archive_that_the_volume_lost_is_put_back(master: Master, s1: Host) -> None:
    """S4, O8: Every host with the former release can do so, and a new host then gets it."""
    s1.present()
    s1.first()
    master.former.add(NAME)
    master.parts = {NAME: OTHERS[NEXT], NEXT: OTHERS[NAME]}
    master.database.belongs(NAME, **OTHERS[NEXT])
    s1.has(NEXT)
    s1.wants(NEXT)
    archive = s1.store / f"{NAME}.tar.zst"
    archive.unlink()
    s1.active(test=True)
    assert not archive.exists()
    s1.active()
    assert sha256(archive) == s1.release().digest()


def test_s12_other_parts_of_a_release_need_no_upgrade(differing: Host) -> None:
    """S12: A release with the same modules starts as before, and then the database names it."""
    differing.master.parts = {NAME: OTHERS[NEXT], NEXT: OTHERS[NEXT]}
    assert differing.module.due() == due(NAME)
    ret = differing.active()
    assert (ret["result"], differing.module.active()) == (True, NAME)
    assert ret["changes"]["database"] == {"old": NEXT, "new": NAME}
    database = differing.master.database
    assert (database.release, database.parts) == (NAME, OTHERS[NEXT])


def test_k5_a_release_that_is_not_built_is_not_due(s1: Host, master: Master) -> None:
    """K5, O9: After a restore of a Node application without migrations, nothing differs from a
    release that is not on this host. The hosts run that of the database until an apply builds it.
    """
    s1.has(NEXT)
    master.parts = {NAME: {}, NEXT: {}}
    master.database.belongs(NEXT)
    assert s1.module.due() == due(NEXT)
    s1.has(NAME)
    assert s1.module.due() == due(NAME)


def test_s12_a_database_without_a_record_belongs_to_the_code_that_runs(differing: Host) -> None:
    """S12, O8: It is from before there were records. The release that is wanted waits as well."""
    database = differing.master.database
    database.belongs("")
    database.marks = ["initialise"]
    assert differing.module.due() == due(NEXT, "crm", recorded="")
    waiting(differing.active(test=True))
    assert database.release == ""
    waiting(differing.active())
    assert (database.release, database.parts) == (NEXT, OTHERS[NEXT])
    changes = len(database.changes)
    waiting(differing.active())
    assert (differing.module.active(), len(database.changes)) == (NEXT, changes)


def test_s9_a_host_waits_while_another_one_does_the_one_time_steps(
    s1: Host, master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S9, K2: Between its first step and its record, the database is used and names nothing."""
    s1.has(NAME)
    database = master.database
    database.marks = ["migrate"]
    asked: list[str] = []

    def unknown(directory: str) -> str:
        asked.append(directory)
        if len(asked) == 3:
            database.belongs(NAME)
        return str(s1.schema.unknown(directory))

    monkeypatch.setitem(s1.salt, "schema.unknown", unknown)
    monkeypatch.setattr("salina.common.wait.time.sleep", lambda _: None)
    ret = s1.first()
    assert (ret["result"], s1.module.active(), len(asked)) == (True, NAME, 3)
    assert s1.first()["changes"] == {} and len(asked) == 3  # a host that runs one asks nobody


def test_k5_a_used_database_that_nobody_records(
    s1: Host, master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5, S9: It fails after its patience, and says which command settles it."""
    s1.has(NAME)
    master.database.marks = ["migrate"]
    monkeypatch.setattr("salina.common.wait.until", lambda probe, *_: probe())
    ret = s1.first()
    assert (ret["result"], s1.module.active()) == (False, "")
    assert ret["comment"].startswith("waited 5 s for the host that does the one-time steps: the ")
    assert ret["comment"].endswith(f"salt-call schema.record {s1.directory(NAME)}")


def test_s12_a_checkout_waits_as_well(s1: Host, master: Master) -> None:
    """S12, O8: The code from before there were releases has modules, too."""
    s1.has(NAME)
    s1.production.mkdir()
    master.database.marks = ["initialise"]
    master.parts = {NAME: OTHERS[NAME], "production": OTHERS[NEXT]}
    assert s1.module.due() == due("", "crm", recorded="")
    s1.first()
    for test in (True, False):
        waiting(s1.active(test))
    assert master.database.changes == []  # the checkout has no name to record
    assert (s1.module.older(), s1.module.waits(), s1.calls) == (True, NAME, [])


@pytest.mark.skipif(not ZSTD, reason="needs zstd")
@pytest.mark.parametrize("here", [False, True])
def test_s9_a_new_host_gets_the_release_of_the_database(
    master: Master, s1: Host, s2: Host, here: bool
) -> None:
    """S9, O8, K3: It never runs new code on an old database, and has no turn to take.

    The prediction can say so when the host has the release that is wanted.
    """
    s1.present()
    master.former.add(NAME)
    master.parts = {NAME: OTHERS[NEXT], NEXT: OTHERS[NAME]}
    master.database.belongs(NAME, **OTHERS[NEXT])
    s2.wants(NEXT)
    if here:
        complete(s2.release(NEXT).directory)
    predicted = NAME if here else NEXT
    assert s2.first(test=True)["changes"] == {"release": {"old": None, "new": predicted}}
    if not here:
        complete(s2.release(NEXT).directory)
    asked = len(master.asked)
    ret = s2.first()
    assert s2.module.waits() == NEXT
    assert (ret["result"], ret["changes"]) == (True, {"release": {"old": None, "new": NAME}})
    assert s2.module.active() == NAME
    assert (s2.production / "odoo-bin").read_text() == f"code of {fleets.COMMIT}"
    assert master.asked[asked:] == [("s2", "application.build", NAME)]
    ret = s2.active()
    assert (ret["result"], ret["changes"], s2.module.waits()) == (None, {}, NEXT)
    assert (s2.calls, master.database.changes) == ([], [])


def test_s9_the_first_host_of_a_new_database_runs_what_is_wanted(s1: Host) -> None:
    """S9: No database names a release yet, and nothing runs."""
    s1.has(NAME)
    s1.master.parts = OTHERS
    assert s1.first()["changes"] == {"release": {"old": None, "new": NAME}}
    assert s1.active()["changes"] == {"database": {"old": None, "new": NAME}}
    assert s1.master.database.release == NAME
    assert s1.active()["changes"] == {}


def test_o9_after_a_restored_older_database_the_former_release_returns(serving: Host) -> None:
    """O9, S12: The host goes back in its turn, and the release that is wanted waits."""
    serving.master.parts = OTHERS
    serving.master.database.belongs(NAME, **OTHERS[NAME])
    assert serving.active()["result"] is True
    serving.calls.clear()
    serving.master.database.belongs(NEXT, **OTHERS[NEXT])
    serving.first()
    serving.master.database.changes.clear()
    changes = {"release": {"old": NAME, "new": NEXT}, "restart": "odoo"}
    ret = serving.active(test=True)
    assert (ret["result"], ret["changes"]) == (None, changes | {"turn": "app"})
    ret = serving.active()
    assert (ret["result"], ret["changes"], ret["name"]) == (True, changes, serving.directory())
    assert ret["comment"] == f"odoo restarted with this release; {WAITS}"
    assert serving.calls == [
        f"take app: {NAME}",
        f"stop odoo: {NAME}",
        f"start odoo: {NEXT}",
        f"ask {URL}: {NEXT}",
    ]
    assert (serving.module.active(), serving.module.waits()) == (NEXT, NAME)
    assert serving.master.database.changes == []
    waiting(serving.active())


def test_o9_the_former_release_of_a_stopped_service_is_activated(serving: Host) -> None:
    """O9: It waits for its start with the code that fits the database."""
    serving.master.parts = OTHERS
    serving.module.activate(serving.directory())
    serving.master.database.belongs(NEXT, **OTHERS[NEXT])
    serving.running = False
    assert serving.active()["changes"] == {"release": {"old": NAME, "new": NEXT}}
    assert (serving.module.active(), serving.calls) == (NEXT, [])


def test_s12_the_database_names_a_release_after_a_healthy_start_only(serving: Host) -> None:
    """S12, O8: A release that does not work leaves the database as it was."""
    database = serving.master.database
    database.belongs(NEXT, crm="00")
    serving.unhealthy[NAME] = "status 500"
    failure(serving.active())
    assert (database.release, database.changes) == (NEXT, [])
    serving.unhealthy[NAME] = ""
    usual = serving.salt["application.health"]

    def healthy(url: str, cookie: str | None) -> str:
        assert (database.release, database.changes) == (NEXT, [])
        return str(usual(url, cookie))

    serving.salt["application.health"] = healthy
    assert serving.active()["result"] is True
    assert (database.release, len(database.changes)) == (NAME, 1)
    serving.active()
    assert len(database.changes) == 1


def test_k5_a_database_that_does_not_answer_changes_nothing(serving: Host) -> None:
    """K5, K3: Nobody knows which release fits. A prediction shows the one that is wanted."""
    serving.master.database.down = "the server is away"
    said = "the database does not say which release it belongs to: the server is away"
    assert failure(serving.active()) == said
    assert (serving.module.active(), serving.calls) == (NEXT, [])
    assert serving.active(test=True)["changes"]["release"] == {"old": NEXT, "new": NAME}


def test_k3_a_release_that_is_not_built_is_predicted_as_one_that_fits(s1: Host) -> None:
    """K3: Its modules are not known yet, and nothing is asked of the database."""
    complete(s1.release(NEXT).directory)
    s1.module.activate(s1.directory(NEXT))
    s1.master.database.belongs(NEXT, crm="00")
    ret = s1.active(test=True)
    assert ret["changes"] == PREDICTED | {"restart": "odoo", "turn": "app"}
    assert s1.master.database.asked == []


def test_many_parts_that_differ_are_counted(differing: Host) -> None:
    """K5: The message names some of them, and says how many more there are."""
    differing.master.parts = {NAME: {f"m{number}": "01" for number in range(10)}, NEXT: {}}
    differing.master.database.belongs(NEXT)
    said = differing.active()["comment"]
    assert "another version of m0, m1, m2, m3, m4, m5, m6, m7 and 2 more; next: " in said


@pytest.mark.skipif(not ZSTD, reason="needs zstd")
def test_x10_a_former_release_is_fetched_from_the_store(master: Master, s1: Host, s2: Host) -> None:
    """X10, K1: The archive must have the recorded digest. A host that has the release asks nobody.

    Its commit is known as far as the name has it.
    """
    s1.present()
    master.former.add(NAME)
    s2.wants(NEXT)
    s2.app["definition"]["source"]["commit"] = "f" * 40
    archive = s1.store / f"{NAME}.tar.zst"
    good = archive.read_bytes()
    archive.write_bytes(good + b"foreign")
    with pytest.raises(CommandExecutionError, match="it was not unpacked"):
        s2.module.fetch(s2.directory(), str(s2.store))
    assert not s2.release().directory.exists()
    archive.write_bytes(good)
    s2.module.fetch(s2.directory(), str(s2.store))
    assert unpacked(s2) == unpacked(s1)
    assert (s2.release().digest(), s2.release().commit()) == (s1.release().digest(), NAME[:12])
    asked = len(master.asked)
    s2.module.fetch(s2.directory(), str(s2.store))
    assert len(master.asked) == asked


def test_k5_a_former_release_that_is_nowhere(master: Master, s1: Host, s2: Host) -> None:
    """K5: The error says how to have it built again. The host does not build it itself."""
    master.former.add(NAME)
    s1.wants(NEXT)
    complete(s1.release(NEXT).directory)
    master.parts = OTHERS
    master.database.belongs(NAME, **OTHERS[NAME])
    said = (
        f"the database belongs to release {NAME}, which is neither on this host nor in "
        f"{s1.store}; to have it built again, set `revision` in the application's definition to "
        f"the full commit that begins with {NAME[:12]}, and apply the states of an app host"
    )
    refused = f"{NAME} is not the release any more\n"
    assert failure(s1.first()) == refused + said
    master.built[NAME] = Built("s2", 0, DIGEST)  # its archive is gone
    assert failure(s1.first()) == said
    assert (s1.builds, s1.module.active()) == (0, "")


@pytest.mark.skipif(not ZSTD, reason="needs zstd")
def test_s8_a_fetched_release_gets_the_links_of_its_kind(
    master: Master, s1: Host, s2: Host
) -> None:
    """S8: A Node application writes to the volume, with whichever release."""
    linked = list[str]()
    s1.present()
    s2.module.__salt__["s2.link"] = linked.append
    for number in (1, 2):  # an interrupted call may have left it without them
        s2.module.fetch(s2.directory(), str(s2.store))
        assert linked == [s2.directory()] * number


def test_a_release_that_waits_is_noted(s1: Host) -> None:
    """S12, K2: The note survives a boot, and a damaged one counts for none."""
    file = s1.root / "waiting.json"
    s1.root.mkdir(parents=True)
    assert s1.module.waits() == ""
    s1.module.wait("")
    s1.module.wait(NAME)
    inode = file.stat().st_ino
    s1.module.wait(NAME)
    assert (s1.module.waits(), file.stat().st_ino) == (NAME, inode)
    s1.module.wait(NEXT)
    assert s1.module.waits() == NEXT
    for text in ("", "{", "{}"):
        file.write_text(text)
        assert s1.module.waits() == ""
    s1.module.wait("")
    assert not file.exists()


def test_o6_nginx_keeps_the_files_of_each_release_apart(serving: Host) -> None:
    """O6: The map names the release that runs, also while another one waits."""
    shown = '# Managed by Salt (salt/nginx).\ndefault "{}";\n'
    serving.module.wait(NAME)
    assert serving.module.cache_map() == shown.format(NEXT)
    serving.module.activate(serving.directory())
    assert serving.module.cache_map() == shown.format(NAME)
    serving.production.unlink()
    assert serving.module.cache_map() == shown.format("")


def test_o6_nginx_learns_the_release_before_the_application_starts(serving: Host) -> None:
    """O6: An activation and its undoing both tell nginx, if the host has it."""
    file = Path(serving.module.NGINX)
    serving.module.activate(serving.directory())
    assert not file.parent.exists() and serving.calls == []  # a new host
    file.parent.mkdir()
    for call, name in (
        (lambda: serving.module.activate(serving.directory(NEXT)), NEXT),
        (lambda: serving.module.restore(NAME), NAME),
    ):
        call()
        assert file.read_text() == serving.module.cache_map()
        assert f'"{name}"' in file.read_text()
        assert serving.calls.pop() == f"reload nginx: {name}"
    serving.running = False  # a stopped nginx reads the file when it starts
    serving.module.activate(serving.directory(NEXT))
    assert (file.read_text(), serving.calls) == (serving.module.cache_map(), [])


def test_o1_a_release_that_waits_is_kept(differing: Host) -> None:
    """O1: Neither it nor the one that runs is removed, here or in the store."""
    differing.used(OLDEST, NAME, NEXT)
    differing.first()
    differing.active()
    for _ in range(2):
        differing.states().kept(str(differing.store), 1)
        assert {one.name for one in release.present("s1")} == {NAME, NEXT}
    names = {path.name.removesuffix(".tar.zst") for path in differing.store.iterdir()}
    assert names == {NAME, NEXT}


# Old releases


def test_a_host_keeps_what_it_runs_what_it_shall_run_and_one_more(serving: Host) -> None:
    """O1: The others go, from its disk and from the volume, and the next apply finds nothing."""
    others = [f"c0ffee000000-{number:08x}" for number in range(4)]
    serving.used(NEXT, *others, NAME)
    unneeded = [serving.directory(name) for name in (NEXT, *others[:3])]
    archives = [f"{serving.store}/{name}.tar.zst" for name in (NEXT, *others[:2])]
    release.activate(serving.production, Release(Path(serving.directory())))
    assert serving.module.surplus(str(serving.store), 2) == [*unneeded, *archives]
    ret = serving.states().kept(str(serving.store), 2)
    assert (ret["result"], ret["changes"]) == (True, {"removed": [*unneeded, *archives]})
    left = {NAME, others[3]}
    assert {path.name for path in (serving.root / "releases").iterdir()} == {
        f"{name}{suffix}" for name in left for suffix in ("", ".json", ".tar.zst")
    }
    assert {path.name for path in serving.store.iterdir()} == {
        f"{name}.tar.zst" for name in (*left, others[2])
    }
    ret = serving.states().kept(str(serving.store), 2)
    assert (ret["result"], ret["changes"]) == (True, {})


def test_the_release_that_ran_last_is_not_the_first_to_go(serving: Host) -> None:
    """S12: An operator who goes back, and forth again, can go back once more."""
    serving.used(OLDEST, NEXT, NAME)
    serving.module.activate(serving.directory(OLDEST))
    serving.module.activate(serving.directory(NAME))
    removed = [serving.directory(NEXT), f"{serving.store}/{NEXT}.tar.zst"]
    assert serving.module.surplus(str(serving.store), 1) == removed


def test_what_an_interrupted_copy_left_is_no_archive(serving: Host) -> None:
    """K2: Another host may be copying at this moment."""
    before = serving.module.surplus(str(serving.store), 0)
    (serving.store / f".{NEXT}.tar.zst.s2{release.UNFINISHED}").touch()
    assert serving.module.surplus(str(serving.store), 0) == before


@pytest.mark.parametrize(
    ("kept", "gone"), [(0, "abcd"), (1, "abc"), (4, ""), (9, ""), (-1, "abcd")]
)
def test_releases_that_can_go(kept: int, gone: str) -> None:
    """The order is from old to new, and the newest stay."""
    assert release.surplus(list("abcd"), kept) == list(gone)


def test_an_unfinished_release_is_removed_as_a_whole(s1: Host) -> None:
    """K2: Nothing of it remains, whatever is there."""
    own = complete(s1.release().directory)
    own.archive.touch()
    Path(f"{own.directory}{release.UNFINISHED}").mkdir()
    for _ in range(2):
        s1.module.remove([str(own.directory)])
        assert list((s1.root / "releases").iterdir()) == []


# Predictions

PREDICTED = {"release": {"old": NEXT, "new": NAME}}
RECORDED = {"database": {"old": None, "new": NAME}}


@pytest.mark.parametrize(
    ("case", "result", "changes"),
    [
        ("built", True, {}),
        ("present", None, {"release": NAME}),
        ("stored", None, {"release": NAME}),
        ("first", None, {"release": {"old": None, "new": NAME}}),
        ("active", None, PREDICTED | RECORDED | {"restart": "odoo", "turn": "app"}),
        ("active, stopped", None, PREDICTED | RECORDED),
        ("kept", None, {"removed": True}),
    ],
)
def test_k3_a_prediction_changes_nothing(
    master: Master, s1: Host, case: str, result: bool | None, changes: dict[str, Any]
) -> None:
    """K3: It names what the apply then changes, and asks the master for no build."""
    kind = case.partition(",")[0]
    store = str(s1.store)
    if case not in ("built", "present"):
        s1.module.obtain(s1.directory(), store)
    if case == "stored":
        (s1.store / f"{NAME}.tar.zst").unlink()
    if kind in ("active", "kept"):
        complete(s1.release(NEXT).directory)
        s1.module.activate(s1.directory(NAME if kind == "kept" else NEXT))
    if case == "kept":
        complete(s1.release(OLDEST).directory).archive.touch()
        changes = {"removed": [s1.directory(NEXT)]}
    s1.running = case != "active, stopped"
    calls = {
        "built": lambda test: s1.states(test).built(s1.directory()),
        "present": s1.present,
        "stored": s1.present,
        "first": s1.first,
        "active": s1.active,
        "active, stopped": s1.active,
        "kept": lambda test: s1.states(test).kept(store, 3),
    }
    before, asked, database = (tree(s1.root.parent), len(master.asked), master.database)
    ret = calls[case](True)
    assert (ret["result"], ret["changes"]) == (result, changes)
    assert (tree(s1.root.parent), len(master.asked), s1.calls) == (before, asked, [])
    assert database.changes == []
    done = calls[case](False)
    assert done["result"] is True and tree(s1.root.parent) != before
    if case != "built":  # another host may build it before
        assert done["changes"] == {key: one for key, one in changes.items() if key != "turn"}
    again = calls[case](True)
    assert (again["result"], again["changes"]) == (True, {})


def test_k3_the_release_that_runs_now_will_be_the_one_that_stays(serving: Host) -> None:
    """K3: A prediction names the releases that go after the activation, which it only predicts."""
    serving.used(OLDEST, NEXT, NAME)
    predicted = serving.states(True).kept(str(serving.store), 1)["changes"]
    assert predicted == {
        "removed": [serving.directory(OLDEST), f"{serving.store}/{OLDEST}.tar.zst"]
    }
    serving.active()
    assert serving.states().kept(str(serving.store), 1)["changes"] == predicted


def test_k3_a_new_host_predicts_its_release_once(s1: Host) -> None:
    """K3: `first` activates it, so `active` has nothing to do."""
    s1.present()
    assert s1.first(test=True)["result"] is None
    assert s1.active(test=True)["changes"] == RECORDED
    s1.first()
    assert s1.active()["changes"] == RECORDED
    assert (s1.active(test=True)["result"], s1.active(test=True)["changes"]) == (True, {})


def test_k3_a_host_that_needs_no_turn_predicts_none(serving: Host) -> None:
    serving.salt["turn.needed"] = lambda role: False
    serving.salt["turn.take"] = never
    assert serving.active(test=True)["changes"] == PREDICTED | RECORDED | {"restart": "odoo"}


# The files


def test_a_copy_appears_when_it_is_complete(tmp_path: Path) -> None:
    """X10: The digest is of the bytes that were read, and only root reads them."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(3 * release.CHUNK + 1))
    digest = sha256(source)
    target.write_text("before")
    assert release.copied(source, target, digest) == digest == sha256(target)
    assert release.digest(target) == digest
    assert target.stat().st_mode & 0o777 == 0o600
    source.write_text("foreign")
    assert release.copied(source, target, digest) == sha256(source) != digest
    with pytest.raises(FileNotFoundError):
        release.copied(tmp_path / "nowhere", target, digest)
    assert sha256(target) == digest
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}


def test_k2_an_interrupted_copy_is_made_again(tmp_path: Path) -> None:
    """K2: A host replaces what it left itself, even if that is longer."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("archive")
    for _ in range(2):
        release.copied(source, target, sha256(source))
        left = tmp_path / f".target.{platform.node()}{release.UNFINISHED}"
        left.write_text("half of a longer one")
    release.copied(source, target, sha256(source))
    assert not left.exists() and target.read_text() == "archive"


def test_two_hosts_copy_to_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X10: Neither truncates or renames the unfinished copy of the other one."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("archive")
    used: list[str] = []
    replace = Path.replace

    def renamed(self: Path, to: Path) -> Path:
        used.append(self.name)
        if len(used) == 1:  # the other host begins and ends before this one has ended
            monkeypatch.setattr(platform, "node", lambda: "s2")
            release.copied(source, target, sha256(source))
        return replace(self, to)

    monkeypatch.setattr(platform, "node", lambda: "s1")
    monkeypatch.setattr(Path, "replace", renamed)
    assert release.copied(source, target, sha256(source)) == sha256(target)
    assert len({*used}) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}


@pytest.mark.parametrize("text", ["", "{", "{}", '{"commit": "c0ffee"}'])
def test_a_damaged_record_counts_for_none(tmp_path: Path, text: str) -> None:
    """K2: A release without a whole record is incomplete."""
    own = complete(tmp_path / NAME)
    assert (own.digest(), own.commit()) == (DIGEST, "c0ffee")
    own.record.write_text(text)
    assert (own.digest(), own.commit()) == ("", "")


def test_the_complete_releases_of_a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one that was used is at the end, and other files do not count."""
    monkeypatch.setattr(release, "releases", lambda kind: str(tmp_path))
    assert release.present("odoo") == []
    for name, time in ((NEXT, 2), (OLDEST, 3), (NAME, 1)):
        own = complete(tmp_path / name)
        own.archive.touch()
        os.utime(own.archive, (time, time))
    for name in ("notes.json", f"{NAME}.unfinished.json", f"{NAME}0.json", f"{NAME[:-1]}e.json"):
        (tmp_path / name).write_text("{}")
    assert [one.name for one in release.present("odoo")] == [NAME, NEXT, OLDEST]
    own.archive.unlink()  # only its archive is gone
    assert [one.name for one in release.present("odoo")] == [NAME, NEXT, OLDEST]


def test_places_are_named_after_the_kind() -> None:
    assert release.releases("odoo") == "/opt/odoo/releases"
    assert release.production("node") == "/opt/node/production"
    assert release.marker(release.production("node")) == Path("/opt/node/production.json")
