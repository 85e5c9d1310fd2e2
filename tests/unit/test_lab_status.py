"""The health of the fleet: what a host's probe finds, and how it is shown."""

import inspect
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
from rich.console import Console

from lab.commands import preflight, probe, status
from lab.machines import faults
from lab.machines.plan import Machine, Plan
from salina_fleet.roles import ROLES
from tests import fleets

DATA = Path(__file__).parent / "data/gluster"
STATISTICS = """# pxname,svname,status
web,FRONTEND,OPEN
web,s1,UP
web,s2,UP 1/2
web,s3,DOWN
web,BACKEND,UP
"""


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_balancer_needs_every_server() -> None:
    assert list(probe.backends(STATISTICS)) == [("haproxy web", False, "2 of 3 up")]


def test_database_route_needs_one_server() -> None:
    route = STATISTICS.replace("web,", "database,")
    assert list(probe.backends(route)) == [("haproxy database", True, "2 of 3 up")]


def members(**other: object) -> list[dict[str, object]]:
    """Return a cluster in which bbdd1 leads and bbdd2 streams, except for what `other` says."""
    replica = {"name": "bbdd2", "role": "sync_standby", "state": "streaming", "lag": 0}
    return [{"name": "bbdd1", "role": "leader", "state": "running"}, replica | other]


@pytest.mark.parametrize(
    ("other", "good", "state"),
    [
        ({}, True, "sync_standby streaming"),
        ({"lag": 100}, True, "sync_standby streaming, lag 100 bytes"),
        ({"lag": 101}, False, "sync_standby streaming, lag 101 bytes"),
        ({"role": "replica", "state": "running"}, False, "replica running"),
        (
            {"role": "replica", "state": "running", "lag": 1006615520},
            False,
            "replica running, lag 1006615520 bytes",
        ),
        ({"state": "in archive recovery"}, False, "sync_standby in archive recovery"),
    ],
)
def test_a_replica_streams_and_is_near(other: dict[str, object], good: bool, state: str) -> None:
    """S11: A replica that only runs gets nothing from the primary."""
    found = list(probe.cluster(members(**other), "bbdd2", 100, True))
    assert found == [("patroni", good, state)]


@pytest.mark.parametrize("state", ["starting", "stopped"])
def test_a_leader_runs(state: str) -> None:
    leader = members()[0] | {"state": state}
    (check, _) = probe.cluster([leader, *members()[1:]], "bbdd1", 100, True)
    assert check == ("patroni", False, f"leader {state}")


def test_a_missing_synchronous_standby_is_shown() -> None:
    """S11: On the primary's row, unless none is wanted."""
    missing = "none, so the primary alone stores new commits"
    for found in (members(role="replica"), members()[:1]):
        assert list(probe.cluster(found, "bbdd1", 100, True)) == [
            ("patroni", True, "leader running"),
            ("synchronous standby", False, missing),
        ]
        assert len(list(probe.cluster(found, "bbdd1", 100, False))) == 1
    (_, check) = probe.cluster(members(), "bbdd1", 100, True)
    assert check == ("synchronous standby", True, "bbdd2")
    assert checks("bbdd1", "default")["patroni"]["standby"] == "synchronous"
    assert checks("all", "one-host")["patroni"]["standby"] == ""


@pytest.mark.parametrize(("free", "good"), [(9, False), (10, True)])
def test_full_brick(free: int, good: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each storage host reports its own brick, of 1,000 bytes here."""
    info = (DATA / "volume-started.xml").read_text()
    monkeypatch.setattr(probe, "gluster_xml", lambda *argv: ElementTree.fromstring(info))
    monkeypatch.setattr(probe, "heal", lambda name: ("heal", True, name))
    monkeypatch.setattr(probe.socket, "gethostname", lambda: "nas2")
    monkeypatch.setattr(probe.shutil, "disk_usage", lambda path: Usage(1000, 1000 - free, free))
    [brick] = [check for check in probe.gluster() if check[0].startswith("brick")]
    assert brick == ("brick /nas", good, f"{free // 10} % free")


@pytest.mark.parametrize(("replica", "asked"), [("3", True), ("1", False)])
def test_only_replicas_have_something_to_heal(
    replica: str, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = (DATA / "volume-started.xml").read_text()
    info = info.replace("<replicaCount>3<", f"<replicaCount>{replica}<")

    def command(*argv: str) -> str:
        return {"info": info, "status": "<peers/>"}.get(argv[-1], "<bricks/>")

    monkeypatch.setattr(probe, "command", command)
    monkeypatch.setattr(probe, "heal", lambda name: ("heal", True, name))
    found = list(probe.gluster())
    assert ("volume nas", True, "started") in found
    assert (("heal", True, "nas") in found) == asked


def test_check_that_cannot_be_made_is_not_good(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare() -> Iterator[probe.Check]:
        raise FileNotFoundError(2, "No such file or directory", "/usr/sbin/gluster")
        yield

    def refused() -> Iterator[probe.Check]:
        raise ConnectionRefusedError("refused")
        yield

    monkeypatch.setattr(probe, "CHECKS", {"system": bare, "firewall": refused, "etcd": refused})
    assert probe.probe([("etcd", {})]) == [
        ("system", False, "not deployed (gluster is missing)"),
        ("firewall", False, "refused"),
        ("etcd", False, "refused"),
    ]


def test_probe_stands_alone() -> None:
    """It is sent to hosts which have neither the lab nor Salt's Python."""
    assert probe.__file__
    with open(probe.__file__) as file:
        assert "from lab" not in file.read()


def shown(rows: list[status.Row], injected: list[faults.Fault]) -> str:
    console = Console(file=io.StringIO(), width=120, highlight=False)
    console.print(status.table(rows, injected))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_table_tells_what_is_wrong_and_what_was_injected() -> None:
    rows = [
        status.Row("s1", "app", (status.Check("minion", False), status.Check("app", True))),
        status.Row("lb1", "balancer", (status.Check("haproxy web", False, "2 of 3 up"),)),
    ]
    text = shown(rows, [faults.Fault(faults.Kind.SERVICE_KILL, "s1", "nginx")])
    assert "✗  s1" in text and "no minion" in text
    assert "haproxy web: 2 of 3 up" in text
    assert "service-kill nginx s1" in text


def test_row_is_good_when_all_is() -> None:
    assert status.Row("a", "", (status.Check("x", True),)).good
    assert not status.Row("a", "", (status.Check("x", True), status.Check("y", False))).good


def test_tier_is_well_when_all_its_hosts_are() -> None:
    machines = (Machine("s1", ("app",), ()), Machine("s2", ("app",), ()), Machine("c1", (), ()))
    rows = [status.Row("s1", "app", ()), status.Row("s2", "app", (status.Check("x", False),))]
    (tier,) = status.tiers(Plan((), machines), rows)
    assert not tier.good
    assert tier.checks[0].detail == "1 of 2 are well"


def checks(host: str, topology: str) -> dict[str, Mapping[str, str]]:
    """Return the checks of `bin/lab status` on a host: the probe's function -> its arguments."""
    fleet = fleets.fleet(topology)
    here, defined = fleet.hosts[host], status.definitions(fleet.topology)
    return dict(check for role in here.roles for check in ROLES[role].checks(fleet, here, defined))


@pytest.mark.parametrize(("topology", "host"), fleets.everyone())
def test_the_probe_can_make_every_check(topology: str, host: str) -> None:
    """Each check of a role is a function of the probe, and takes these arguments."""
    for name, arguments in checks(host, topology).items():
        inspect.signature(probe.CHECKS[name]).bind(**arguments)


def test_a_host_is_asked_for_its_own_application() -> None:
    """Issue 5: by its domain, with its health's path; a host that serves none is asked for none."""
    known = {name: checks(name, "two-applications") for name in ("s1", "w1", "nas1")}
    assert known["s1"]["application"]["domain"] == "crm.example"
    assert known["s1"]["application"]["path"] == "/web/health"
    assert known["w1"]["application"]["domain"] == "shop.example"
    assert "application" not in known["nas1"]
    assert "mount" in known["s1"] and "mount" not in checks("s1", "plain")


def test_preflight_tells_all_faults_at_once() -> None:
    error = preflight.report([preflight.Fault("no root", "sudo"), preflight.Fault("no disk", "rm")])
    assert "no root: sudo" in str(error) and "no disk: rm" in str(error)
