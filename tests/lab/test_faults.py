"""Losses under traffic: S4, S11, S12.

Clients load pages, upload files and read them back, and a writer adds numbered rows, while a part
of the fleet is down and when it returns.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from salina.common import wait
from tests import fleets
from tests.lab.lab import LAB, fault, heal, run, shell
from tests.lab.test_edge import DOMAIN, curl
from tests.lab.tiers import DATABASES, STORAGE, all_serve, leader, servers, whole
from tests.lab.traffic import Traffic, Watch, Writer, bricks_differ, overlap, reigns, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.slow]

POSTMASTER = "/var/lib/postgresql/15/salina/postmaster.pid"


class Scene:
    """The traffic, and what is broken meanwhile."""

    def __init__(self, traffic: Traffic, writer: Writer) -> None:
        self.traffic, self.writer = traffic, writer
        self.broken: list[str] = []
        self.differing: list[str] = []

    def breaks(self, kind: str, *hosts: str) -> None:
        """Break hosts."""
        self.broken += hosts
        fault(kind, *hosts)

    def heals(self) -> None:
        """End what was broken."""
        if self.broken:
            heal(*self.broken)
        self.broken.clear()

    def goes_on(self, seconds: float) -> float:
        """Wait until each session and the writer have succeeded from now on; how long it took."""
        return wait_for((self.traffic, self.writer), seconds)

    def ends(self, what: str) -> None:
        """Compare the uploads, end the traffic, which takes them with it, and print the figures."""
        self.differing = bricks_differ(self.traffic.uploads())
        self.traffic.end()
        self.writer.end()
        requests = self.traffic.requests()
        print(
            f"\n{what}: {len(requests)} requests, slowest {self.slowest():.1f} s; "
            f"{len(self.writer.lines())} writes, longest gap {self.writer.gap():.1f} s"
        )
        print("\n".join(self.traffic.failed()) or "no request failed")

    def slowest(self) -> float:
        """Seconds of the slowest request."""
        return max(request.took for request in self.traffic.requests())

    def sessions_survived(self) -> bool:
        """Whether nobody was logged out."""
        return not [line for line in self.traffic.failed() if "logged out" in line]


@pytest.fixture
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Traffic on the fleet, which is whole again at the end.

    Its parameter is how many seconds a client waits for an answer.
    """
    with Traffic(timeout=getattr(request, "param", 90)) as traffic, Writer() as writer:
        scene = Scene(traffic, writer)
        try:
            scene.goes_on(60)
            yield scene
        finally:
            scene.heals()
            whole()
            leader()
            assert wait.until(all_serve, 90), servers()


def test_s4_a_storage_host_cut_off_and_back(scene: Scene) -> None:
    """S4: The loss of a storage host costs one stall and no request, and the host catches up
    later.
    """
    scene.breaks("link-down", "nas2")
    scene.goes_on(30)
    scene.heals()
    whole()
    scene.goes_on(30)
    scene.ends("nas2 cut off")
    assert not scene.traffic.failed()
    assert scene.slowest() < 20
    assert scene.writer.gap() < 10
    assert not scene.writer.missing()
    assert not scene.differing


def test_s12_an_app_host_killed_and_back(scene: Scene) -> None:
    """S12: No repeatable request fails, and the host gets its share again when it returns."""
    victim = "s2"
    scene.breaks("kill", victim)
    out = wait.until(lambda: not servers()[victim]["serving"], 30)
    scene.goes_on(30)
    scene.heals()
    back = wait.until(all_serve, 90)
    before = servers()[victim]["requests"]
    scene.goes_on(30)
    after = servers()[victim]["requests"]
    scene.ends(f"{victim} killed")
    assert out and back, servers()
    assert after > before
    failed = [each for each in scene.traffic.requests() if each.fault]
    assert not [each for each in failed if each.retriable]
    assert len(failed) <= scene.traffic.sessions  # what was under way at that moment
    assert scene.slowest() < 20
    assert scene.sessions_survived()
    assert not scene.writer.missing()


@pytest.mark.proof
def test_s12_an_app_host_frozen_and_back(scene: Scene) -> None:
    """S12: A frozen host gets no requests although it acknowledges packets; it answers its held
    requests when it thaws.
    """
    victim = "s2"
    scene.breaks("freeze", victim)
    out = wait.until(lambda: not servers()[victim]["serving"], 30)
    asked = f"https://{DOMAIN}/web/login?[1-9]"  # by users who come meanwhile
    statuses = curl("--insecure", "--output", "/dev/null", "--write-out", "%{http_code}\\n", asked)
    scene.heals()
    back = wait.until(all_serve, 90)
    scene.goes_on(30)
    scene.ends(f"{victim} frozen")
    assert out and back, servers()
    assert statuses.split() == ["200"] * 9
    assert not scene.traffic.failed()
    assert scene.slowest() < 60
    assert not scene.writer.missing()


THAW = 5
"""Seconds in which a primary that was frozen may still think it is one. Nothing that it takes in
then is acknowledged: a commit waits for the synchronous replica, which has left it."""


@pytest.mark.parametrize(
    ("how", "bound"),
    [
        ("kill", 40),
        pytest.param("process", 15, marks=pytest.mark.proof),
        pytest.param("freeze", 40, marks=pytest.mark.proof),
        pytest.param("link-down", 40, marks=pytest.mark.proof),
    ],
)
def test_s11_the_primary_lost_and_back(scene: Scene, how: str, bound: float) -> None:
    """S11: No acknowledged row is lost, two hosts never lead together, and the old primary
    rejoins.
    """
    first = leader()
    watches: dict[str, list[Watch]] = {host: [] for host in DATABASES}
    with ExitStack() as stack:

        def watch(*hosts: str) -> None:
            new = [stack.enter_context(Watch(host)) for host in hosts]
            for each in new:
                watches[each.host].append(each)
            wait_for(new, 20)

        watch(*DATABASES)
        if how == "process":
            shell(first, f"kill -KILL $(head -1 {POSTMASTER})")
        else:
            scene.breaks(how, first)
        scene.goes_on(90)
        scene.heals()
        if how == "kill":
            watch(first)
        second = leader()
        scene.goes_on(30)
        scene.ends(f"{first} lost ({how}), then {second} led")
    samples = {
        host: [line for each in watches[host] for line in each.lines()] for host in DATABASES
    }
    both = {
        what: overlap(*(reigns(samples[host], what) for host in DATABASES))
        for what in ("leads", "writable")
    }
    print(f"both at the same time: {both}")
    assert how == "process" or second != first
    assert both["leads"] == 0
    assert both["writable"] <= (THAW if how == "freeze" else 0)
    assert not scene.writer.missing()
    assert scene.writer.gap() < bound
    assert scene.slowest() < bound + 10
    assert scene.sessions_survived()


def etcd() -> dict[str, dict[str, Any]]:
    """The status of each member of the quorum."""
    files = ["--cacert", "ca.crt", "--cert", "etcd.crt", "--key", "etcd.key"]
    found = {}
    for host in fleets.fleet().having("quorum"):
        url = f"https://{host.addresses['data']}:2379/v3/maintenance/status"
        command = ["env", "--chdir=/etc/salina/tls", "curl", "-s", *files, "-d", "{}", url]
        found[host.id] = json.loads(run(host.id, *command))
    return found


def etcd_leader() -> str:
    """The host whose member leads the quorum."""
    for host, status in etcd().items():
        if status["leader"] == status["header"]["member_id"]:
            return host
    raise AssertionError("the quorum has no leader")


def elections() -> int:
    """How often the quorum has elected a leader, at least: each election begins a term."""
    return max(int(status["raftTerm"]) for status in etcd().values())


@pytest.mark.proof
def test_s11_busy_disks_cost_no_election(scene: Scene) -> None:
    """S11, S4: etcd shares its disks with the bricks, and waits for each write. Others that do the
    same all the time cost neither the quorum its leader nor the database its primary.
    """
    first, before = leader(), elections()
    write = "while :; do dd if=/dev/zero of=/var/tmp/busy bs=256k count=200 oflag=dsync; done"
    busy = f"timeout 60 sh -c '{write} 2>/dev/null'; rm /var/tmp/busy"
    waits = []
    with ExitStack() as stack:
        writing = [
            stack.enter_context(subprocess.Popen([LAB, "exec", host, "--", "sh", "-c", busy]))
            for host in STORAGE
        ]
        while None in [one.poll() for one in writing]:
            waits.append(scene.goes_on(60))
    scene.goes_on(60)
    scene.ends("the disks of the quorum were busy")
    print(f"each session and the writer went on within {max(waits):.1f} s")
    assert (leader(), elections()) == (first, before)
    assert not scene.traffic.failed()
    assert not scene.writer.missing()


@pytest.mark.proof
def test_s11_a_member_of_the_quorum_killed(scene: Scene) -> None:
    """S11, S4: The leader of etcd dies, which is also a storage host: the primary stays where it
    is.
    """
    first = leader()
    victim = etcd_leader()
    scene.breaks("kill", victim)
    scene.goes_on(60)
    scene.heals()
    whole()
    scene.goes_on(30)
    scene.ends(f"{victim} killed, which led the quorum")
    assert leader() == first
    assert not scene.traffic.failed()
    assert scene.slowest() < 20
    assert scene.writer.gap() < 10
    assert not scene.writer.missing()
    assert not scene.differing


def trouble() -> str:
    """Return the output of `bin/lab status` when something is unhealthy, or ""."""
    done = subprocess.run([LAB, "status"], capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("scene", [15], indirect=True)
def test_s15_the_whole_fleet_rebooted(scene: Scene) -> None:
    """S4, S11, S15: After a power cut of all hosts the fleet serves again by itself, with every
    row.
    """
    scene.breaks("kill", *fleets.fleet().hosts)
    scene.heals()
    took = wait_for([scene.traffic], 480)
    scene.writer.again()
    scene.goes_on(30)
    wait.clear(trouble, 300, "the fleet to be well")
    scene.ends(f"all hosts killed, served again {took:.0f} s after their start")
    assert scene.sessions_survived()
    assert not scene.writer.missing()
    assert not scene.differing
