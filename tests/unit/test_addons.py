"""Modules from several repositories, submodules, and private repositories (O1, O2, X10, K4)."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.application import git, odoo
from salina.application import release as own
from salina_fleet import pillar as pillars
from salina_fleet import revisions, secrets
from salina_fleet.fleet import Fleet
from salina_fleet.model import definition, release
from salina_fleet.model.firewall import FirewallSettings
from salina_fleet.revisions import RevisionError, Revisions
from salina_fleet.role import MasterData
from salina_fleet.schema import document
from tests import fleets
from tests.loading import load
from tests.releases import NAME
from tests.upstream import Upstream

GIT = "ssh://git@git.example/team"
LINE = f"git.example ssh-ed25519 {'A' * 60}"
OTHER = "f" * 40
CUSTOM = {"name": "custom", "repository": f"{GIT}/custom.git", "revision": "main"}
PUBLIC = {"name": "oca", "repository": "https://git.example/oca.git", "revision": "19.0"}


def content(version: str = "14.0", **more: Any) -> dict[str, Any]:
    """Return the content of Odoo's file, with other keys at its top and in its section."""
    file = fleets.REPOSITORY / f"pillar/app/odoo-{version}.yaml"
    found: dict[str, Any] = copy.deepcopy(document.loads(file.read_bytes(), file.name))
    for key, value in more.items():
        place = found["odoo"] if key in ("repositories", "python") else found
        place[key] = {**place[key], **value} if isinstance(value, dict) else value
    return found


def without_lock(**more: Any) -> dict[str, Any]:
    """Return such a definition with requirements in place of a lock."""
    python = {key: value for key, value in fleets.without_lock()["odoo"]["python"].items() if value}
    found = content("19.0", **more)
    found["odoo"]["python"] = copy.deepcopy(python)
    return definition.parse(found, "x.yaml").to_dict()


def parsed(version: str = "14.0", **more: Any) -> dict[str, Any]:
    """Return such a definition with its defaults."""
    return definition.parse(content(version, **more), "x.yaml").to_dict()


def faults(version: str = "14.0", **more: Any) -> tuple[str, ...]:
    """Return the faults of such a definition."""
    with pytest.raises(definition.DefinitionError) as caught:
        parsed(version, **more)
    return caught.value.faults


# The definition


def test_o2_repositories_and_their_defaults() -> None:
    """O2: A repository needs a name, a URL and a revision; its modules are at its top."""
    (found,) = parsed(repositories=[PUBLIC])["odoo"]["repositories"]
    rest = {"submodules": False, "key": None, "addons": ["."], "requirements": None}
    assert found == {**PUBLIC, **rest}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"addons": ["/srv"]},
            'odoo.repositories[0].addons[0]: "/srv" is not valid; must be a directory of the '
            "repository, or . for the repository itself",
        ),
        (
            {"name": "../x"},
            'odoo.repositories[0].name: "../x" is not valid; must be a name of small letters, '
            "digits, _ and -",
        ),
        (
            {"repository": "ext::sh"},
            'odoo.repositories[0].repository: "ext::sh" is not valid; must be a git URL: '
            "https://, ssh://, file:/// or USER@HOST:PATH",
        ),
        (
            {"repository": "ssh://git@git.example:99999/r", "key": "custom"},
            'odoo.repositories[0].repository: "ssh://git@git.example:99999/r" is not a URL: Port '
            "out of range 0-65535; correct it",
        ),
        (
            {"requirements": "requirements.txt"},
            "odoo.repositories[0].requirements: cannot be combined with odoo.python.lock, because "
            "the lock lists every Python package; add its packages to the lock, and remove this",
        ),
        (
            {"key": "custom"},
            'odoo.repositories[0].key: "custom" needs a repository by SSH; write ssh:// or '
            "USER@HOST:PATH, or remove the key",
        ),
        (
            {"key": "/root/key"},
            'odoo.repositories[0].key: "/root/key" is not valid; must be the name of a deploy '
            "key, such as addons, or null",
        ),
    ],
)
def test_k5_a_repository_that_is_not_valid(changes: dict[str, Any], fault: str) -> None:
    """K5: One fault says where, what was found, and what is allowed."""
    assert faults(repositories=[{**PUBLIC, **changes}]) == (fault,)


def test_k5_two_repositories_of_one_name() -> None:
    """K5: The name is that of the record, and of the directory."""
    fault = 'odoo.repositories[1].name: "oca" is repeated; must be listed once'
    assert faults(repositories=[PUBLIC, {**CUSTOM, "name": "oca"}]) == (fault,)


def test_requirements_beside_requirements() -> None:
    """O2: Without a lock, a repository may have requirements of its own."""
    one = {**PUBLIC, "requirements": "requirements.txt"}
    section = without_lock(repositories=[one, CUSTOM])["odoo"]
    assert odoo.requirements(section) == [
        "requirements.txt",
        ".repositories/oca/requirements.txt",
    ]


def test_x10_a_server_without_a_known_key_is_refused() -> None:
    """X10, K5: No host trusts a git server by its first answer."""
    fault = (
        "known_hosts: no line names git.example, which odoo.repositories[0] asks with a deploy "
        "key; add its public key (docs/operations.md#private-repositories)"
    )
    private = {**CUSTOM, "key": "custom"}
    assert faults(repositories=[private]) == (fault,)
    assert parsed(repositories=[private], known_hosts=[LINE])["known_hosts"] == [LINE]
    elsewhere = {**private, "repository": "ssh://git@git.example:2222/custom.git"}
    (fault,) = faults(repositories=[elsewhere], known_hosts=[LINE])
    assert fault.startswith("known_hosts: no line names [git.example]:2222, which ")
    assert faults(source={"repository": f"{GIT}/odoo.git", "key": "odoo"})[0].startswith(
        "known_hosts: no line names git.example, which source asks"
    )


@pytest.mark.parametrize(
    "line",
    ["git.example", f"@cert-authority {LINE}", f"* {LINE}", f"{LINE}\nx", "|1|a|b ssh-rsa A"],
)
def test_x10_a_line_of_known_hosts_names_a_server(line: str) -> None:
    """X10, K5: Patterns and certificates of servers are not among what is allowed."""
    (fault,) = faults(known_hosts=[line])
    assert "must be a line of a known_hosts file such as git.example ssh-ed25519 AAAA…" in fault


# The name of a release


@pytest.mark.parametrize(
    ("application", "name"),
    [
        ("crm-2017", "c0ffee000000-17c69f55"),
        ("odoo-14.0", "c0ffee000000-fb5dea66"),
        ("sample-crm", "c0ffee000000-c26d7f0c"),
    ],
)
def test_x10_definitions_without_the_newer_keys_keep_their_releases(
    application: str, name: str
) -> None:
    """X10: These are the names from before there were further repositories."""
    found = fleets.definition(application)
    assert release.name(found, [fleets.COMMIT], fleets.LOCKS) == name
    name = "c0ffee000000-59164835"
    python = {
        **fleets.without_lock()["odoo"]["python"],
        "packages": [
            *("build-essential", "libldap2-dev", "libmagic1", "libpq-dev", "libsasl2-dev"),
            "python3-dev",
        ],
    }
    odoo = {**fleets.without_lock()["odoo"], "python": python}
    assert release.name({**fleets.without_lock(), "odoo": odoo}, [fleets.COMMIT], {}) == name


def test_x10_everything_that_is_checked_out_counts() -> None:
    """X10: Commits, directories, requirements and submodules; neither keys nor URLs."""

    def named(further: str = OTHER, **more: Any) -> str:
        found = without_lock(**more)
        commits = [fleets.COMMIT, *[further] * len(found["odoo"]["repositories"])]
        return release.name(found, commits, fleets.LOCKS)

    alone, one = named(), named(repositories=[PUBLIC])
    others = [
        named(source={"submodules": True}),
        named(repositories=[PUBLIC], source={"submodules": True}),
        named("e" * 40, repositories=[PUBLIC]),
        named(repositories=[{**PUBLIC, "name": "other"}]),
        named(repositories=[{**PUBLIC, "addons": ["addons"]}]),
        named(repositories=[{**PUBLIC, "requirements": "requirements.txt"}]),
        named(repositories=[{**PUBLIC, "submodules": True}]),
        named(repositories=[PUBLIC, CUSTOM]),
        named(repositories=[CUSTOM, PUBLIC]),
    ]
    assert len({alone, one, *others}) == len(others) + 2
    private = {**PUBLIC, "repository": f"{GIT}/oca.git", "revision": "main", "key": "custom"}
    assert named(repositories=[private], known_hosts=[LINE]) == one


# Odoo's paths


def test_o2_the_modules_of_further_repositories_come_first(tmp_path: Path) -> None:
    """O2, O8: Odoo takes the first module of a name, and its checksum is that of this one."""
    further = {**PUBLIC, "addons": [".", "more/addons"]}
    section = parsed(repositories=[further, CUSTOM])["odoo"]
    wanted = [
        *(".repositories/oca", ".repositories/oca/more/addons", ".repositories/custom"),
        *("odoo/addons", "addons"),
    ]
    assert odoo.addons(section) == wanted
    app = {**fleets.pillar("s1")["app"], "definition": {**parsed(), "odoo": section}}
    production = [f"/opt/odoo/production/{one}" for one in wanted]
    found = str(odoo.options(app, 2, odoo.addons(app["definition"]["odoo"]))["addons_path"])
    assert found.split(",") == [*production, "/opt/odoo/addons"]
    assert f"--addons-path=/r/{wanted[0]},/r/{wanted[1]}," in "\n".join(
        odoo.program(app, "/r", "crm")
    )
    for number, place in enumerate((".repositories/custom", "addons")):
        (tmp_path / place / "crm").mkdir(parents=True)
        (tmp_path / place / "crm/__manifest__.py").write_text(f"{{'name': '{number}'}}")
    (tmp_path / "addons/sale").mkdir()
    (tmp_path / "addons/sale/__manifest__.py").write_text("{}")
    module: Any = load("_modules/odoo.py", pillar={"app": app})
    before = module.checksums(str(tmp_path))
    assert {*before} == {"crm", "sale"}
    (tmp_path / "addons/crm/__manifest__.py").write_text("{'name': 'hidden'}")
    assert module.checksums(str(tmp_path)) == before
    (tmp_path / ".repositories/custom/crm/__manifest__.py").write_text("{'name': 'new'}")
    assert module.checksums(str(tmp_path))["crm"] != before["crm"]


def test_o2_all_requirements_are_resolved_together(tmp_path: Path) -> None:
    """O2: One environment from both files, with the definition's constraints."""
    module: Any = load("_modules/python_environment.py")
    files = [tmp_path / name for name in ("main.txt", "further.txt")]
    files[0].write_text("lxml==5.0\n")
    assert module.wanted("python3", str(files[0]), False, [], ["x<2"], [str(files[1])]) == {}
    files[1].write_text("qrcode\n")
    found = module.wanted("python3", str(files[0]), False, [], ["x<2"], [str(files[1])])
    assert [line for line in found["requirements"] if line] == ["lxml==5.0", "qrcode"]
    assert found["constraints"] == ["x<2"]
    alone = module.wanted("python3", str(files[0]), False, [], ["x<2"])
    assert alone["requirements"] == ["lxml==5.0"]


def test_k5_a_further_repository_without_modules(tmp_path: Path) -> None:
    """K5: Odoo would not start with it. The build ends, and names the key to correct."""
    section = parsed(repositories=[{**PUBLIC, "addons": ["addons"]}])["odoo"]
    app = {"name": "odoo-14.0", "definition": {"odoo": section}}
    salt = {"python_environment.wanted": lambda *_: {"x": 1}, "python_environment.install": print}
    module: Any = load("_modules/odoo.py", pillar={"app": app}, salt=salt)
    with pytest.raises(
        CommandExecutionError,
        match=r"\.repositories/oca/addons has no modules in this release; correct `addons` of the "
        r"repository oca in pillar/app/odoo-14\.0\.yaml",
    ):
        module.build(str(tmp_path))
    (tmp_path / ".repositories/oca/addons/crm").mkdir(parents=True)
    (tmp_path / ".repositories/oca/addons/crm/__manifest__.py").touch()
    module.build(str(tmp_path))


# The commits


def master(found: Mapping[str, Any], state: Path, store: Any = None) -> MasterData:
    """Return the view of a master whose only application has this definition."""
    topology = fleets.topology()
    (name,) = {one.definition for one in topology.applications.values()}
    whole = Fleet(topology, topology.initial(), fleets.settings())
    kept = store or fleets.Kept()
    locks = fleets.LOCKS
    return MasterData(whole, {name: found}, Revisions(state), locks, kept, fleets.TREE, str(state))


def test_x10_each_repository_has_a_record(tmp_path: Path) -> None:
    """X10: The master records every commit once, also beside a file of an earlier version."""
    one, two = Upstream(tmp_path / "one.git"), Upstream(tmp_path / "two.git")
    found = parsed(
        source={"repository": one.url, "revision": "main"},
        repositories=[{**PUBLIC, "repository": two.url, "revision": "main"}],
    )
    before = {"odoo-14.0": {"repository": one.url, "revision": "main", "commit": OTHER}}
    (tmp_path / revisions.FILE).write_text(json.dumps(before))
    data = master(found, tmp_path)
    second = two.commit("second")
    wanted = {"odoo-14.0": OTHER, "odoo-14.0/oca": second}
    assert release.commits(data, "crm") == wanted
    name = release.wanted(data, "crm")
    assert name == release.name(found, wanted.values(), fleets.LOCKS)
    two.commit("third")
    assert release.wanted(data, "crm") == name
    record = {"repository": two.url, "revision": "main", "commit": second}
    assert Revisions(tmp_path).recorded() == {**before, "odoo-14.0/oca": record}
    renewed = Revisions(tmp_path).renew(release.sources("odoo-14.0", found))
    assert renewed["odoo-14.0"] == one.first
    assert release.wanted(data, "crm") != name


def test_k5_a_fault_names_the_repository(tmp_path: Path) -> None:
    """K5: The message has the file and the path of the repository."""
    one = Upstream(tmp_path / "one.git")
    found = parsed(
        source={"repository": one.url, "revision": "main"},
        repositories=[{**PUBLIC, "repository": one.url, "revision": "nope"}],
    )
    place = r"pillar/app/odoo-14\.0\.yaml: odoo\.repositories\[0\]\.revision"
    with pytest.raises(RevisionError, match=f'{place}: "nope" is not valid'):
        release.wanted(master(found, tmp_path), "crm")


# Real git: the checkouts of a release


def run_all(argv: list[str], **options: Any) -> dict[str, Any]:
    """`cmd.run_all` as Salt has it, for real."""
    assert options.pop("python_shell") is False
    env = {**os.environ, **options.pop("env", {})}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env, **options)
    return {"retcode": done.returncode, "stdout": done.stdout.strip(), "stderr": done.stderr}


class Repositories:
    """Repositories in one directory. `app` has the submodule `lib` below the path `ext/lib`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.lib, self.custom = Upstream(place / "lib.git"), Upstream(place / "custom.git")
        self.pinned = self.lib.first
        self.lib.commit("newer", parent=self.pinned)
        self.app = Upstream(place / "app.git")
        self.commit = self.with_submodule("../lib.git")

    def with_submodule(self, url: str, modules: bool = True) -> str:
        """Commit a tree with a file, and with a submodule at this URL."""
        app = self.app
        text = f'[submodule "a name"]\n\tpath = ext/lib\n\turl = {url}\n'
        blob = app.git("hash-object", "-w", "--stdin", text=text)
        code = app.git("hash-object", "-w", "--stdin", text="code")
        inner = app.git("mktree", text=f"160000 commit {self.pinned}\tlib\n")
        lines = [f"100644 blob {code}\tfile", f"040000 tree {inner}\text"]
        lines += [f"100644 blob {blob}\t.gitmodules"] * modules
        tree = app.git("mktree", text="\n".join(lines) + "\n")
        commit = app.git("commit-tree", tree, "-m", "with a submodule")
        app.git("update-ref", "refs/heads/main", commit)
        return commit


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    return Repositories(tmp_path)


class Host:
    """An app host that builds, with git for real."""

    def __init__(self, place: Path, checkouts: list[dict[str, Any]]) -> None:
        self.kind = f"../{place.relative_to('/')}/odoo"  # /opt/KIND is in the test's directory
        self.directory = place / "odoo/releases" / NAME
        self.built: list[str] = []
        salt: dict[str, Any] = {
            "cmd.run_all": run_all,
            "publish.runner": lambda *_, **__: {"digest": "", "obstacle": ""},
            f"{self.kind}.build": self.built.append,
        }
        self.checkout: Any = load("_modules/checkout.py", salt=salt)
        salt["checkout.update"] = self.checkout.update
        salt["checkout.revision"] = self.checkout.revision
        source = {"commit": fleets.COMMIT}
        self.app: dict[str, Any] = {
            "kind": self.kind,
            "name": "odoo-14.0",
            "definition": {"source": source},
            "release": {"checkouts": checkouts},
        }
        self.release: Any = load("_modules/release.py", salt=salt, pillar={"app": self.app})
        self.release.TAR = ("tar", "--numeric-owner")

    def build(self) -> None:
        """Build the release."""
        self.release.build(str(self.directory))


def checkout(repository: str, commit: str, **more: Any) -> dict[str, Any]:
    """Return a checkout of a pillar."""
    found = {"directory": "", "repository": repository, "commit": commit, "submodules": False}
    return {**found, "key": None, "known_hosts": [], **more}


@pytest.mark.further
def test_o1_a_release_of_several_repositories(repositories: Repositories, tmp_path: Path) -> None:
    """O1: Its files are those of all repositories and of the submodule, at the pinned commits."""
    main = checkout(repositories.app.url, repositories.commit, submodules=True)
    further = checkout(
        repositories.custom.url, repositories.custom.first, directory=own.beside_code("custom")
    )
    host = Host(tmp_path, [main, further])
    for _ in range(2):  # the second build finds the checkouts of the first
        host.build()
        files = {
            str(path.relative_to(host.directory)): path.read_text()
            for path in host.directory.rglob("*")
            if path.is_file() and path.name != ".gitmodules"
        }
        assert files == {
            "file": "code",
            "ext/lib/file": "first",
            ".repositories/custom/file": "first",
        }
    assert not list(host.directory.rglob(".git"))
    assert host.built == [str(host.directory)] * 2
    archive = host.directory.with_name(f"{NAME}{own.SUFFIX}")
    packed = subprocess.check_output(["tar", "--list", f"--file={archive}"], text=True).split()
    assert {"./file", "./ext/lib/file", "./.repositories/custom/file"} <= {*packed}
    assert not [name for name in packed if "/.git/" in name]
    repositories.pinned = repositories.lib.git("rev-parse", "main")
    main["commit"] = repositories.with_submodule("../lib.git")
    host.build()
    assert (host.directory / "ext/lib/file").read_text() == "newer"


def test_the_checkout_of_a_repository_that_left_the_definition_goes(
    repositories: Repositories, tmp_path: Path
) -> None:
    """The next release is built without it, and its checkout would fill the disk."""
    main = checkout(repositories.app.url, repositories.commit)
    further = checkout(
        repositories.custom.url, repositories.custom.first, directory=own.beside_code("custom")
    )
    host, kept = Host(tmp_path, [main, further]), str(tmp_path / "nas")
    host.build()
    host.app["release"]["name"] = NAME
    assert host.release.surplus(kept, 3) == []
    host.app["release"]["checkouts"] = [main]
    (left,) = host.release.surplus(kept, 3)
    host.release.remove([left])
    assert not (tmp_path / "odoo/staging.repositories/custom").exists()
    assert (tmp_path / "odoo/staging").exists()


def test_submodules_only_when_they_are_wanted(repositories: Repositories, tmp_path: Path) -> None:
    """By default the directory of a submodule is empty, as git leaves it."""
    host = Host(tmp_path, [checkout(repositories.app.url, repositories.commit)])
    host.build()
    assert list((host.directory / "ext/lib").iterdir()) == []


def test_the_files_of_a_submodule_have_the_time_of_its_commit(
    repositories: Repositories, tmp_path: Path
) -> None:
    """O1: So all hosts name Odoo's bundles alike."""
    host = Host(tmp_path, [checkout(repositories.app.url, repositories.commit, submodules=True)])
    host.build()
    shown = repositories.lib.git("show", "--no-patch", "--format=%ct", repositories.pinned)
    assert (host.directory / "ext/lib/file").stat().st_mtime == int(shown)


@pytest.mark.parametrize(
    ("url", "modules", "said"),
    [
        ("ext::sh -c evil", True, 'submodule ext/lib: "ext::sh -c evil" is not valid; must be a'),
        ("/etc/x.git", True, 'submodule ext/lib: "/etc/x.git" is not valid; must be a git URL'),
        ("x", False, r"submodule ext/lib: \.gitmodules must have its path and its url"),
    ],
)
def test_x10_a_submodule_that_is_not_valid(
    repositories: Repositories, tmp_path: Path, url: str, modules: bool, said: str
) -> None:
    """X10, K5: The build ends with the URL, and nothing is fetched from there."""
    commit = repositories.with_submodule(url, modules)
    host = Host(tmp_path, [checkout(repositories.app.url, commit, submodules=True)])
    with pytest.raises(CommandExecutionError, match=said):
        host.build()
    assert host.built == []


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_k5_code_in_the_place_of_further_repositories(
    repositories: Repositories, tmp_path: Path, kind: str
) -> None:
    """K5, X10: The build ends before anything is written there."""
    app, outside = repositories.app, tmp_path / "outside"
    outside.mkdir()
    blob = app.git("hash-object", "-w", "--stdin", text=str(outside))
    inner = app.git("mktree", text=f"100644 blob {blob}\tx\n")
    line = f"120000 blob {blob}" if kind == "link" else f"040000 tree {inner}"
    tree = app.git("mktree", text=f"{line}\t.repositories\n")
    commit = app.git("commit-tree", tree, "-m", "x")
    app.git("update-ref", "refs/heads/main", commit)
    further = checkout(app.url, commit, directory=own.beside_code("custom"))
    host = Host(tmp_path, [checkout(app.url, commit), further])
    with pytest.raises(CommandExecutionError, match=r"its code has \.repositories, but a release"):
        host.build()
    assert list(outside.iterdir()) == []


# Deploy keys

SSH = """#!/bin/sh
# In place of ssh: notes how it was called and which files it may read, then is the server.
printf '%s\\n' "$@" >> "$SEEN/words"
for word in "$@"; do
  case $word in
    IdentityFile=*) cat "${word#*=}" >> "$SEEN/key"; stat -c %a "${word#*=}" >> "$SEEN/modes";;
    UserKnownHostsFile=*) cat "${word#*=}" >> "$SEEN/known";;
  esac
  last=$word
done
exec sh -c "$last"
"""


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the pretended ssh notes how git called it."""
    place, programs = tmp_path / "seen", tmp_path / "bin"
    place.mkdir()
    programs.mkdir()
    (programs / "ssh").write_text(SSH)
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(place))
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(git, "PRIVATE", str(tmp_path / "run"))
    return place


def test_k4_a_private_repository(
    repositories: Repositories, tmp_path: Path, seen: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """K4, X10: git gets the key in a file, verifies the server, and leaves no trace of the key."""
    url = f"ssh://git@git.example{repositories.place}/app.git"
    main = checkout(url, repositories.commit, submodules=True, key="canary", known_hosts=[LINE])
    host = Host(tmp_path, [main])
    host.build()
    assert (host.directory / "ext/lib/file").read_text() == "first"  # its URL is relative
    words = (seen / "words").read_text()
    assert "StrictHostKeyChecking=yes" in words and "git@git.example" in words
    assert {*(seen / "key").read_text().split()} == {"canary"}
    assert {*(seen / "modes").read_text().split()} == {"600"}
    assert {*(seen / "known").read_text().splitlines()} == {LINE}
    assert "canary" not in words
    assert list((tmp_path / "run").iterdir()) == []
    kept = subprocess.run(
        ["grep", "--recursive", "--files-with-matches", "canary", str(tmp_path / "odoo")],
        check=False,
        capture_output=True,
    )
    assert kept.stdout == b""
    assert "canary" not in "".join(capfd.readouterr())


def test_k4_the_master_looks_a_private_revision_up(
    repositories: Repositories, tmp_path: Path, seen: Path
) -> None:
    """K4, X10: With the same key; without one, the message has the next command."""
    source = {
        "repository": f"ssh://git@git.example{repositories.place}/app.git",
        "revision": "main",
        "key": "team",
    }
    found = release.sources("x", parsed(source=source, known_hosts=[LINE]))["x"]
    commit, fault = revisions.look_up("x", found, secrets.FakeStore())
    assert (commit, fault) == (repositories.commit, "")
    assert (seen / "key").read_text() == "canary-deploy-team\n"
    assert list((tmp_path / "run").iterdir()) == []
    commit, fault = revisions.look_up("x", found, secrets.FakeStore(["deploy-team"]))
    assert (commit, fault) == (
        "",
        "pillar/app/x.yaml: source.key: the deploy key team is missing (secret deploy-team does "
        "not exist): give it by salt-run secrets.deploy_key team FILE",
    )


def private(store: secrets.FakeStore) -> MasterData:
    """Return the view of a master whose Odoo comes from private repositories."""
    data = fleets.master_data(fleets.fleet("two-applications"), store)
    first = data.fleet.topology.applications["crm"].definition
    source = {"repository": f"{GIT}/odoo.git", "key": "team"}
    found = parsed(source=source, known_hosts=[LINE], repositories=[{**CUSTOM, "key": "custom"}])
    return replace(data, definitions={**data.definitions, first: found})


def test_k4_only_the_hosts_of_the_application_get_its_keys() -> None:
    """K4, S6: Every other pillar has none of them."""
    data = private(fleets.Kept())
    hosts = {
        host.id: str(pillars.select(data, host.id))
        for host in data.fleet.topology.everyone()
        if host.id in data.fleet.hosts
    }
    having = {name for name, text in hosts.items() if "canary-deploy-" in text}
    assert having == {host.id for host in data.fleet.serving("crm")}
    (name, *_) = sorted(having)
    found = pillars.select(data, name)["app"]["release"]["checkouts"]
    assert [one["key"] for one in found] == ["canary-deploy-team", "canary-deploy-custom"]
    assert found[1] == {
        "directory": ".repositories/custom",
        "repository": CUSTOM["repository"],
        "commit": fleets.COMMIT,
        "submodules": False,
        "key": "canary-deploy-custom",
        "known_hosts": [LINE],
    }


def test_k5_a_pillar_without_the_key() -> None:
    """K5: The error has the next command."""
    data = private(fleets.Kept(["deploy-custom"]))
    host = data.fleet.serving("crm")[0]
    with pytest.raises(secrets.SecretsError, match=r"salt-run secrets\.deploy_key custom FILE"):
        pillars.select(data, host.id)


def test_k5_the_firewall_lets_hosts_reach_every_repository() -> None:
    """K5, X7: The hosts need a way to the server's port; the message has the entry for `egress`."""
    topology, settings = fleets.topology(), fleets.settings()
    (name,) = {one.definition for one in topology.applications.values()}
    found = parsed(repositories=[CUSTOM])
    lines = [*settings[FirewallSettings].conflicts(topology, settings, {name: found})]
    place = f"{GIT}/custom.git (pillar/app/{name}.yaml)"
    entry = "{role: app, ports: 22}"
    assert lines == [("egress", f"s1 cannot reach {place} at port 22; add {entry}")]
