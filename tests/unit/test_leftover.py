"""The remains of an application that left the topology: on each host, and orch.remove."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.health import probes
from salina_fleet import minions, runner
from salina_fleet.change import exclusive, leftover, releases
from salina_fleet.change.leftover import Found
from salina_fleet.change.releases import Built
from salina_fleet.errors import RunnerError
from tests import fleets
from tests.loading import load
from tests.releases import DIGEST, NAME

GONE = "crm_staging"


# The primary


class Primary:
    """PostgreSQL on a database host, as far as the module asks it. `asked`: the statements."""

    def __init__(self, *databases: str, replica: bool = False) -> None:
        self.databases, self.replica = [*databases], replica
        self.asked: list[str] = []
        salt = {"database.query": self.query}
        pillar = fleets.pillar("bbdd1")
        self.module: Any = load("_modules/leftover.py", salt=salt, pillar=pillar)

    def query(self, sql: str) -> str:
        """Answer a statement."""
        self.asked.append(sql)
        if "pg_is_in_recovery" in sql:
            return "t" if self.replica else "f"
        return json.dumps(self.databases)


def test_x10_the_databases_of_a_gone_application_are_dropped() -> None:
    """O1, X10: Its own one is the last, so an interrupted removal is found again."""
    primary = Primary(GONE, "crm_staging_before_20261129_120000")
    assert primary.module.drop(GONE) == ["crm_staging_before_20261129_120000", GONE]
    assert [sql for sql in primary.asked if sql.startswith("DROP")] == [
        'DROP DATABASE "crm_staging_before_20261129_120000" WITH (FORCE)',
        'DROP DATABASE "crm_staging" WITH (FORCE)',
        'DROP ROLE IF EXISTS "crm_staging"',
        'DROP ROLE IF EXISTS "salina_record_crm_staging"',
    ]
    [found] = [sql for sql in primary.asked if "json_agg" in sql]
    assert "datname = 'crm_staging' AND pg_get_userbyid(datdba) = 'crm_staging'" in found
    assert "OR datname = 'salina_next_crm_staging'" in found
    assert "'salina: crm_staging '" in found


def test_k5_no_host_deletes_what_its_pillar_has(tmp_path: Path) -> None:
    """O1, K5: Whatever the master asks for. A replica deletes nothing, either."""
    with pytest.raises(CommandExecutionError, match="crm: the pillar of this host has this"):
        Primary("crm").module.drop("crm")
    with pytest.raises(CommandExecutionError, match="this host is a replica"):
        Primary(GONE, replica=True).module.drop(GONE)
    with pytest.raises(CommandExecutionError, match="crm: the pillar of this host has this"):
        load("_modules/leftover.py", pillar=fleets.pillar("bkp1")).delete_copies("crm")


# A storage host


class Storage:
    """A storage host with two bricks. `volumes`: those of the pool. `deleted`: those that went."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "nas"
        self.volumes = {"nas": [f"nas1:{self.base}"], "staging": [f"nas1:{self.base}-staging"]}
        self.deleted: list[str] = []
        for brick, application in ((self.base, "crm"), (self.staging, GONE)):
            (brick / application / "filestore").mkdir(parents=True)
            (brick / ".glusterfs").mkdir()
            (brick / "file").write_text("content")
        (self.staging / "link").symlink_to(self.base)
        wanted = {"name": "nas1", "volumes": [{"name": "nas", "brick": str(self.base)}]}
        salt = {
            "gluster.volumes": lambda: {
                name: {"bricks": bricks} for name, bricks in self.volumes.items()
            },
            "gluster.delete": self.delete,
        }
        self.module: Any = load("_modules/leftover.py", salt=salt, pillar={"storage": wanted})

    @property
    def staging(self) -> Path:
        """Return the brick of the copy."""
        return self.base.with_name("nas-staging")

    def delete(self, volume: str) -> None:
        """Delete a volume."""
        self.deleted.append(volume)
        del self.volumes[volume]


def test_x10_the_volume_of_a_gone_application_is_deleted(tmp_path: Path) -> None:
    """O1, X10, K1: Then its brick. That of another application stays; no link is followed."""
    host = Storage(tmp_path)
    given = (GONE, str(host.base))
    assert host.module.bricks(*given) == [str(host.staging)]
    with pytest.raises(CommandExecutionError, match="volume staging still has it"):
        host.module.delete_bricks(*given)
    assert host.module.delete_volumes(*given) == host.deleted == ["staging"]
    assert host.module.delete_bricks(*given) == [str(host.staging)]
    assert not host.staging.exists()
    assert (host.base / "crm/filestore").is_dir() and (host.base / "file").read_text()
    again = [getattr(host.module, one)(*given) for one in ("delete_volumes", "delete_bricks")]
    assert again == [[], []]


def test_k5_a_brick_that_a_volume_of_the_pillar_has_stays(tmp_path: Path) -> None:
    """O1, K5: Also if somebody put a directory with that name into it."""
    host = Storage(tmp_path)
    assert host.module.bricks("crm", str(host.base)) == []
    (host.base / GONE).mkdir()
    assert host.module.bricks(GONE, str(host.base)) == [str(host.staging)]


@pytest.mark.parametrize(("status", "stops"), [("Started", True), ("Stopped", False)])
def test_a_volume_is_stopped_before_it_is_deleted(
    status: str, stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O1, K1: One that was stopped before an interruption is only deleted."""
    module: Any = load("_modules/gluster.py")
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr(module, "volumes", lambda: {"staging": {"status": status}})
    monkeypatch.setattr(module, "_gluster", lambda *words: told.append(words))
    module.delete("staging")
    stop = [("volume", "stop", "staging", "force")] if stops else []
    assert told == [*stop, ("volume", "delete", "staging")]


# The backup host


def test_x10_the_copies_of_its_files_are_deleted(tmp_path: Path) -> None:
    """O1, X10: Those of each set of bricks, and of no other application."""
    for name in ("crm", GONE, f"{GONE}-2", f"{GONE}_two", f"{GONE}-x"):
        (tmp_path / name / "data").mkdir(parents=True)
    section = {"directory": str(tmp_path), "sources": [{"name": "crm", "application": "crm"}]}
    module: Any = load("_modules/leftover.py", pillar={"files_repository": section})
    gone = [str(tmp_path / name) for name in (GONE, f"{GONE}-2")]
    assert module.delete_copies(GONE) == gone
    assert module.delete_copies(GONE) == []
    assert {one.name for one in tmp_path.iterdir()} == {"crm", f"{GONE}_two", f"{GONE}-x"}


# The request and the plan


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "application: nothing is not valid"),
        ({"application": "../crm"}, 'application: "../crm" is not valid'),
        ({"application": "crm"}, "application: crm is in pillar/topology.yaml; remove it"),
        ({"application": GONE, "confirm": "crm"}, 'confirm: "crm" is not the name'),
        ({"application": GONE, "force": True}, "force: is not known"),
    ],
)
def test_k5_a_wrong_request_is_one_clear_fault(request_: dict[str, Any], said: str) -> None:
    """O1, K5: An application of the topology is never removed."""
    with pytest.raises(RunnerError) as caught:
        leftover.parse(request_, ["crm"])
    assert str(caught.value).startswith(said)


def test_the_plan_says_what_goes_and_what_stays() -> None:
    """O1, K5: It ends with the command."""
    found = Found((GONE,), {"nas1": ["/nas-staging"], "nas2": []}, ("/var/lib/restic/x",), 2)
    lines = leftover.plan(GONE, "bbdd2", "bkp1", found, 30).splitlines()
    assert lines[1:-1] == [
        "on bbdd2: database crm_staging, and the role",
        "on nas1: /nas-staging, and its volume",
        "on bkp1: the copies of its files, /var/lib/restic/x",
        "on the master: the records of 2 releases",
        "stays: its database in the backups of the cluster, for about 30 days; the copies of its "
        "files at a second repository, in restic/crm_staging",
        "stays: the secrets app-crm_staging-… of the master, which open nothing any more",
    ]
    assert lines[-1] == (
        "next: salt-run state.orchestrate orch.remove "
        'pillar=\'{"application": "crm_staging", "confirm": "crm_staging"}\''
    )
    assert Found().nothing and Found(bricks={"nas1": []}).nothing and not found.nothing


# The runner


class Hosts:
    """The hosts of the default fleet, as their modules answer. `asked`: what was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
        self.site = SimpleNamespace(
            fleet=fleets.fleet(), state=state, change_file=state / "lock", definitions={}
        )
        self.left = {"databases": [GONE], "bricks": ["/nas-staging"], "copies": ["/r/x"]}
        self.asked: list[tuple[str, str]] = []
        monkeypatch.setattr(runner, "site", lambda _: self.site)
        monkeypatch.setattr(runner, "primary", lambda _, site: "bbdd2")
        monkeypatch.setattr(minions, "call", self.call)
        monkeypatch.setattr(minions, "ask", self.ask)
        self.runner: Any = load("_runners/leftover.py", opts={})

    def ask(self, _: Any, hosts: Sequence[str], function: str, __: Any = ()) -> dict[str, Any]:
        """Let hosts read their pillars again."""
        self.asked += [(host, function) for host in hosts]
        return {}

    def call(self, _: Any, host: str, function: str, given: Sequence[Any], *__: Any) -> Any:
        """Answer as a host."""
        assert given[0] == GONE
        self.asked.append((host, function))
        kind, what = function.removeprefix("leftover.").rpartition("_")[::2]
        return self.left.get(what, []) if not kind or what != "volumes" else ["staging"]


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hosts:
    return Hosts(monkeypatch, tmp_path)


def test_x10_without_confirmation_nothing_is_deleted(hosts: Hosts) -> None:
    """O1, K5: Every host has read its pillar before it says what is left."""
    with pytest.raises(RunnerError) as caught:
        hosts.runner.begin(application=GONE, __pub_user="root")
    assert "on nas3: /nas-staging, and its volume" in str(caught.value)
    read = {host for host, function in hosts.asked if function == "saltutil.refresh_pillar"}
    assert read == {"bbdd1", "bbdd2", "nas1", "nas2", "nas3", "bkp1"}
    deleting = ("leftover.d", "leftover.delete")
    assert not [one for _, one in hosts.asked if one.startswith(deleting) and "bases" not in one]
    assert exclusive.holder(hosts.site.change_file) == {}


def test_x10_a_removal_ends_with_the_database(hosts: Hosts) -> None:
    """O1, K2: As long as that is there, fleet.health names the application."""
    with releases.changing(hosts.site.state / releases.FILE) as found:
        found[GONE] = found["crm"] = {NAME: Built("g1", 1, DIGEST)}
    told = hosts.runner.begin(application=GONE, confirm=GONE)
    assert exclusive.holder(hosts.site.change_file)["what"] == told["what"]
    functions = [step["runner"] for step in told["steps"]]
    assert functions == ["leftover.files", "leftover.copies", "leftover.database"]
    hosts.asked.clear()
    for step in told["steps"]:
        getattr(hosts.runner, step["runner"].partition(".")[2])(**step["arguments"])
    peers = ("nas1", "nas2", "nas3")
    assert hosts.asked == [
        *((host, "leftover.delete_volumes") for host in peers),
        *((host, "leftover.delete_bricks") for host in peers),
        ("bkp1", "leftover.delete_copies"),
        ("bbdd2", "leftover.drop"),
    ]
    assert [*releases.read(hosts.site.state / releases.FILE)] == ["crm"]


@pytest.mark.parametrize("step", ["files", "copies", "database"])
def test_k5_no_step_removes_an_application_of_the_topology(hosts: Hosts, step: str) -> None:
    """O1, K5: It may have come back since the plan was shown."""
    with pytest.raises(RunnerError, match=r"crm is in pillar/topology.yaml"):
        getattr(hosts.runner, step)("crm")
    assert hosts.asked == []


def test_k5_nothing_is_left(hosts: Hosts) -> None:
    """O1, K5: A misspelt name is refused as well."""
    hosts.left = {}
    with pytest.raises(RunnerError, match=f"{GONE}: nothing is left of an application"):
        hosts.runner.begin(application=GONE)


# The notice


def test_x11_an_application_that_left_its_data_is_a_notice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """O1, X11: It names the command. A fleet without one says nothing."""
    monkeypatch.setattr(probes, "command", lambda *_, **__: "crm\ncrm_staging\n")
    given = {"port": 5432, "applications": ["crm"]}
    [(what, good, words, notice)] = probes.made("leftover", given)  # type: ignore[misc]
    assert (what, good, notice) == ("leftover", True, True)
    asked = 'salt-run state.orchestrate orch.remove pillar=\'{"application": "crm_staging"}\''
    assert words.endswith(f"its data is here; next: {asked}")
    assert probes.made("leftover", {"port": 5432, "applications": ["crm", "crm_staging"]}) == []
