"""A pool that grows and shrinks under traffic, interrupted changes, and hosts that never arrive
(S10).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from lab.paths import CONTAINERS, KEYS
from salina.common import wait
from tests import fleets
from tests.lab import autoscale, lab, tiers
from tests.lab.traffic import Background, Pages, Traffic, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.slow]

POOL = fleets.topology().pools["app"]
INITIAL = list(POOL.initial)
SCALE = ["state.orchestrate", "orch.scale"]
LOCK = "/var/lib/salina/lock"
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
LAST = "every step succeeded"
LONG = ("change.create", "change.retire")
"""Steps that take long enough for another change to be refused."""
APPLIED = " ".join(["state.highstate", *tiers.STORAGE, *tiers.DATABASES, "s4", "s5"])
CHANGES: dict[int, list[str]] = {
    5: ["change.create", APPLIED],
    2: ["change.retire", "state.highstate lb1", "change.destroy"],
    3: [],
}
"""Each count with the steps at whose beginning the change is killed."""
PAGES = 11
POLL = 50
"""Seconds that Odoo holds a poll. A balancer that has just reloaded counts only later ones."""
RULE = {"above": 4, "below": 2, "time": 20, "cooling": 60, "minimum": 2, "maximum": 3}
"""By which eleven open pages want a third host, and then no other."""
EVENTS = """
listener = subprocess.Popen(["salt-run", "state.event"], stdout=subprocess.PIPE, text=True)
threading.Thread(target=lambda: stopped.wait() and listener.kill(), daemon=True).start()
for line in listener.stdout:
    tag, _, content = line.partition("\\t")
    if tag.startswith(("salt/run/", "salt/job/")) and tag.endswith("/new"):
        event = json.loads(content)
        hosts = event["tgt"] if isinstance(event.get("tgt"), list) else []
        say(begun=" ".join([event["fun"].removeprefix("runner."), *hosts]))
"""
MASTER_KEEPS = "/etc/salt/pki/master /var/cache/salt/master /var/lib/salina"


def told(*arguments: str) -> dict[str, Any]:
    """Call a function of the runner `fleet` and return its result."""
    done = lab.salt_run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def scale(**request: Any) -> subprocess.CompletedProcess[str]:
    """`orch.scale` with a request."""
    return lab.salt_run(*SCALE, wanted(request))


def wanted(request: dict[str, Any]) -> str:
    """A request as the orchestration's pillar."""
    return f"pillar={json.dumps({'pool': 'app', **request})}"


def scaled(**request: Any) -> None:
    """`orch.scale` with a request; each of its steps succeeds."""
    done = scale(**request)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr


def app() -> dict[str, Any]:
    """The pool as `fleet.status` shows it."""
    return dict(told("fleet.status")["app"])


def settled(hosts: list[str]) -> None:
    """The pool is these hosts: on record, by their minions, and before the clients."""
    status = told("fleet.status")
    assert status["app"] == {"members": hosts, "wanted": hosts, "joining": [], "leaving": []}
    assert status["running"] is None
    assert lab.salt("s*", "test.ping") == dict.fromkeys(["salt", *hosts], True)
    serving = [name for name, server in tiers.servers().items() if server["serving"]]
    assert serving == hosts


def residue(gone: list[str]) -> list[str]:
    """Return the remains of hosts: on the machine, on the master, and on the other hosts."""
    hosts = [host for host in fleets.topology().fleet({"app": gone}) if host.pool]
    addresses = [address for host in hosts for address in host.addresses.values()]
    found = [str(path) for one in gone for path in CONTAINERS.glob(f"salina-{one}*")]
    found += [str(path) for one in gone for path in KEYS.glob(f"minion-{one}.*")]

    names = " -o ".join(f"-name {one}" for one in gone)
    jobs = "-name jobs -prune"  # that it once got one is not a remain
    find = f"find {MASTER_KEEPS} {jobs} -o \\( {names} \\) -print"
    found += [f"master: {line}" for line in lab.shell("salt", find).splitlines()]

    patterns = " ".join(f"-e {address}" for address in addresses)
    grep = f"grep -rlwF {patterns} /etc 2>/dev/null; true"
    for host, lines in lab.salt("*", "cmd.run_stdout", grep).items():
        found += [f"{host}: {line}" for line in lines.splitlines()]
    # the pillar of a host without secrets, because the master keeps a runner's answer
    pillar = json.dumps(told("pillar.show_pillar", "lb1"))
    found += [f"lb1: pillar: {one}" for one in addresses if f'"{one}"' in pillar]

    clients = lab.run("nas1", "gluster", "--mode=script", "volume", "status", "nas", "clients")
    found += [f"mounted by {one}" for one in addresses if f"{one}:" in clients]
    sessions = tiers.sql(tiers.leader(), "SELECT DISTINCT host(client_addr) FROM pg_stat_activity")
    return found + [f"session of {one}" for one in addresses if one in sessions.split()]


class Events(Background):
    """Salt's event bus, as far as it tells what the master begins with."""

    def __init__(self) -> None:
        super().__init__("salt", EVENTS)

    def since(self, place: int) -> list[str]:
        """Return the function that has begun, with the names of hosts that apply."""
        return [str(line["begun"]) for line in self.lines()[place:]]

    def listening(self) -> None:
        """Wait until it hears this test itself."""
        heard = wait.until(lambda: told("fleet.members") and self.lines(), 30)
        assert heard, "no event within 30 s"


@contextmanager
def cut_off(events: Events, step: str, **request: Any) -> Iterator[None]:
    """A change that has begun with a step, and is killed when this is left."""
    place = len(events.lines())
    with subprocess.Popen([lab.LAB, "salt-run", *SCALE, wanted(request)], **QUIET) as change:
        begun = wait.until(lambda: step in events.since(place), 300, 0.2)
        assert begun, f"no {step}, but {events.since(place)}"
        yield
        lab.run("salt", "kill", "-9", str(json.loads(lab.run("salt", "cat", LOCK))["pid"]))
        assert change.wait(30) != 0


@pytest.fixture(autouse=True)
def initial() -> Iterator[None]:
    """The pool is as the topology begins, also after a test that failed."""
    yield
    pool = app()
    if pool["members"] != INITIAL or pool["wanted"] != INITIAL:
        scaled(count=len(INITIAL))


@pytest.mark.proof
def test_s10_out_and_in_under_traffic() -> None:
    """S10, S2, S12, K2: Hosts join and leave while no request fails and nobody is logged out.

    The changes are killed at these steps and repeated. Each new host gets its share, and each
    leaving host leaves nothing behind; long polls begin again elsewhere.
    """
    with Events() as events, Traffic() as traffic, Pages(PAGES) as pages:
        events.listening()
        wait_for([traffic], 30)
        for count, steps in CHANGES.items():
            hosts = list(POOL.ids()[:count])
            before = app()["members"]
            plan = told("fleet.plan", "pool=app", f"count={count}")
            assert plan["members"] == hosts
            for step in steps:
                with cut_off(events, step, count=count):
                    if step in LONG:
                        refused()
                status = told("fleet.status")
                assert status["running"] is None
                assert (status["app"]["members"], status["app"]["wanted"]) == (before, hosts)
            scaled(count=count)
            last = told("fleet.status")["last change"]
            assert (last["joined"], last["left"]) == (plan["joining"], plan["leaving"])
            settled(hosts)
            assert not plan["leaving"] or residue(plan["leaving"]) == []
            wait.clear(unasked, 30, "every host to have requests")
            wait.clear(unpolled, 2 * POLL, "every page to be connected again")
            assert not traffic.failed() + pages.failed()
        wait_for([traffic], 30)
    assert not traffic.failed() + pages.failed()


@pytest.mark.proof
def test_s10_the_master_follows_the_load_under_traffic() -> None:
    """S10, S12: The master adds a host by itself when many pages are open, and then leaves the pool
    alone.
    """
    scaled(count=2)
    with Traffic() as traffic, Pages(PAGES) as pages:
        wait_for([traffic], 30)
        with autoscale.switched_on(**RULE):
            autoscale.follows(3, 300)
            autoscale.stays(3, RULE["time"] + RULE["cooling"])
        settled(INITIAL)
        wait_for([traffic], 30)
    assert not traffic.failed() + pages.failed()


def refused() -> None:
    """Another change at the same time is told which one is running, and since when."""
    running = told("fleet.status")["running"]
    second = scale(count=4)
    assert second.returncode == 1
    holder = f"{running['what']}, since {running['since']} (process {running['pid']})"
    assert holder in second.stdout + second.stderr


def unasked() -> str:
    """Which hosts have had no request yet."""
    return " ".join(name for name, server in tiers.servers().items() if not server["requests"])


def unpolled() -> str:
    """Say that some pages have no long poll at a host that serves."""
    held = sum(server["sessions"] for server in tiers.servers().values() if server["serving"])
    return f"{held} of {PAGES}" if held < PAGES else ""


def test_s10_the_same_count_again_changes_nothing() -> None:
    """S10, K1: The same request again contacts no host and writes no file."""

    def kept() -> str:
        return lab.shell("salt", "cd /var/lib/salina; stat -c '%n %y' *.json; cat *.json")

    before = kept()
    done = scale(count=len(INITIAL))
    (steps,) = json.loads(done.stdout)["data"].values()
    assert (done.returncode, [step["__id__"] for step in steps.values()]) == (0, [LAST])
    assert kept() == before


def test_s10_a_host_that_never_comes() -> None:
    """S10, K5: A host that freezes before it answers is taken out again, and the error names it."""
    assert lab.salt_run("change.begin", "pool=app", "count=4").returncode == 0
    assert app()["joining"] == ["s4"]
    with ThreadPoolExecutor() as pool:
        creating = pool.submit(lab.salt_run, "change.create", "hosts=[s4]", "timeout=20")
        assert wait.until(lambda: frozen("s4"), 30, 0.1), "s4 could not be frozen"
        done = creating.result()
    assert done.returncode == 1
    taken_out = "s4 was taken out of the pool, because it did not answer within 20 s"
    assert taken_out in done.stdout + done.stderr
    settled(INITIAL)
    assert residue(["s4"]) == []


@pytest.mark.proof
def test_s10_while_a_storage_host_and_the_replica_are_down() -> None:
    """S10, S4, S11: The plan names the hosts that are down, the pool grows without them, and they
    catch up when they return.
    """
    (replica,) = {*tiers.DATABASES} - {tiers.leader()}
    away = ["nas3", replica]
    address = fleets.topology().fleet({"app": ["s4"]})[-1].addresses["data"]
    lab.fault("kill", *away)
    try:
        with Traffic() as traffic:
            wait_for([traffic], 30)
            assert told("fleet.plan", "pool=app", "count=4")["skipped"] == away
            scaled(count=4)
            assert list(told("fleet.status")["behind"]) == away
            settled([*INITIAL, "s4"])
        assert not traffic.failed()
    finally:
        lab.heal(*away)

    def caught_up() -> bool:
        status = told("fleet.status")
        return status["behind"] is None and status["running"] is None

    assert wait.until(caught_up, 300, 5), told("fleet.status")
    for host in away:
        assert address in lab.run(host, "ufw", "status"), host
    tiers.whole()
    tiers.leader()


@pytest.mark.proof
@pytest.mark.parametrize("host", ["lb1", "the primary"])
def test_s10_a_host_that_the_change_needs_is_down(host: str) -> None:
    """S10, K5: The refusal names the host, and nothing is recorded.

    Only the minion stops, so no other host takes over.
    """
    host = tiers.leader() if host == "the primary" else host
    before = told("fleet.status")
    lab.run(host, "systemctl", "stop", "salt-minion")
    try:
        done = scale(count=4)
        assert done.returncode == 1
        assert f"{host}: no answer; " in done.stdout + done.stderr
        assert told("fleet.status") == before
    finally:
        lab.run(host, "systemctl", "start", "salt-minion")
        assert lab.salt_run("fleet.ready", f"hosts=[{host}]").returncode == 0


@pytest.mark.proof
def test_s10_from_one_to_the_greatest_count_and_back() -> None:
    """S10: The pool grows to its maximum at once, and leaving hosts leave nothing behind."""
    most = list(POOL.ids())
    with Traffic() as traffic:
        wait_for([traffic], 30)
        scaled(count=1)
        scaled(count=POOL.maximum)
        settled(most)
        wait.clear(unasked, 60, "every host to have requests")
        scaled(count=1)
        settled(most[:1])
        wait_for([traffic], 30)
    assert residue(most[1:]) == []
    assert not traffic.failed()


def frozen(host: str) -> bool:
    """Freeze a host, if it runs already."""
    return subprocess.run([lab.LAB, "fault", "freeze", host], **QUIET).returncode == 0
