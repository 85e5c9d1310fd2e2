"""Hosts that join by themselves, on a master whose orchestration touches no host (S10).

First with the reactor alone, at the end with the schedule alone. s4 is a host of the pool whose key
somebody accepted; of s6 nobody did.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from saltfactories.manager import FactoriesManager
from saltfactories.plugins.event_listener import EventListener

from salina.common import wait
from salina_fleet.change import exclusive, join
from tests.integration.conftest import Installation, lay_out, plant_key

TOPOLOGY = """\
service: {address: 10.9.0.5, tls: false}
applications: {crm: {domain: crm.example, definition: odoo-14.0}}
networks: {lan: 10.9.0.0/24}
links: {clients: lan, edge: lan, web: lan, data: lan, management: lan}
hosts:
  lb1:
    roles: [master, storage, balancer, quorum, database]
    first: true
    addresses: {lan: 10.9.0.5}
pools:
  app:
    id: s{n}
    roles: [app]
    addresses: {lan: 10.9.0.(10+n)}
    minimum: 1
    maximum: 6
    initial: [s1]
"""
CHANGE = """
came:
  salt.runner: [name: came.note, hosts: {{ change.joining | json }}]
done:
  salt.runner: [name: change.done, pool: app, require: [salt: came]]
every step succeeded:
  orchestration.succeeded: [order: last]
"""
CATCH_UP = """
came:
  salt.runner: [name: came.note, hosts: {{ pillar.hosts | json }}]
every step succeeded:
  orchestration.succeeded: [order: last]
"""
NOTE = """\
from pathlib import Path
from salt.exceptions import CommandExecutionError

def note(hosts):
    state = Path(__opts__["salina"]["state"])
    with (state / "came").open("a") as file:
        file.write(" ".join(hosts) + "\\n")
    if (state / "broken").exists():
        raise CommandExecutionError("it is broken")
    return hosts
"""
MINIONS = ("lb1", "s1", "s4")
BOUND = 60
START = "salt/minion/s4/start"
EARLIER = ("salt/minion/lb1/start", "salt/minion/s1/start")


@pytest.fixture(scope="module")
def pool(place: Path, repository: Path, salt_factories: FactoriesManager) -> Iterator[Installation]:
    """A master with a balancer and the member s1; the others of the pool are not yet up."""
    site, state = place / "pool", place / "pool-state"
    master = salt_factories.salt_master_daemon("pool_master")
    lay_out(repository, master, site, state)
    (site / "pillar/topology.yaml").write_text(TOPOLOGY)
    (site / "salt/orch/change.jinja").write_text(CHANGE)
    (site / "salt/orch/catch_up.sls").write_text(CATCH_UP)
    (site / "_runners/came.py").write_text(NOTE)
    stub = site / "balancing/modules"
    stub.mkdir(parents=True)
    (stub / "balancer.py").write_text("def servers():\n    return {}\n")
    only(master, "reactor")
    minions = {
        name: master.salt_minion_daemon(name, overrides={"module_dirs": [str(stub.parent)]})
        for name in MINIONS
    }
    pki = Path(master.config["pki_dir"])
    for name in MINIONS:
        plant_key(pki, Path(minions[name].config["pki_dir"]), name)
    installation = Installation(site, state, master, minions)
    with master.started():
        assert installation.run("secrets.create").returncode == 0
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda minion: minion.start(), [minions["lb1"], minions["s1"]]))
        yield installation
        for minion in minions.values():
            minion.terminate()


@pytest.fixture(autouse=True)
def bare(pool: Installation) -> Iterator[None]:
    """Each test finds nothing but the member s1."""
    yield
    for name in (
        "members.json",
        "unfinished.json",
        "last-join.json",
        "came",
        "broken",
        "behind.json",
    ):
        (pool.state / name).unlink(missing_ok=True)


def only(master: Any, key: str) -> None:
    """Of master.d/40-reactor.conf leave the reactor or the schedule, the latter every second."""
    file = Path(master.config["conf_file"]).parent / "master.d/40-reactor.conf"
    text = file.with_suffix(".kept").read_text() if file.with_suffix(".kept").exists() else ""
    text = text or file.read_text()
    file.with_suffix(".kept").write_text(text)
    assert text.count("seconds: 60") == 1
    data = yaml.safe_load(text.replace("seconds: 60", "seconds: 1"))
    assert set(data) == {"reactor", "schedule"}
    file.write_text(yaml.safe_dump({key: data[key]}))


def members(pool: Installation) -> list[str]:
    file = pool.state / "members.json"
    return list(json.loads(file.read_text())["app"]) if file.exists() else ["s1"]


def came(pool: Installation) -> list[str]:
    """Return the host that each orchestration brought."""
    file = pool.state / "came"
    return file.read_text().splitlines() if file.exists() else []


def settled(pool: Installation, host: str) -> bool:
    """Whether a host has joined, and its orchestration has ended."""
    file = pool.state / "unfinished.json"
    free = not exclusive.holder(pool.state / "lock")
    return free and host in members(pool) and host not in file.read_text()


def joins(pool: Installation, host: str) -> None:
    """Wait until it has."""
    assert wait.until(lambda: settled(pool, host), BOUND, 0.2), log(pool)[-4000:]


def log(pool: Installation) -> str:
    """The master's own."""
    return Path(pool.master.config["log_file"]).read_text()


def decided(pool: Installation, listener: EventListener, since: float, count: int) -> list[str]:
    """Return the answers of the reactor's runner to that many events."""

    def said() -> list[str]:
        events = listener.get_events([(pool.master.id, "salt/run/*/ret")], after_time=since)
        return [
            event.data["return"]
            for event in sorted(events, key=lambda event: event.stamp)
            if event.data["fun"] == "runner.join.started"
            and event.data["fun_args"][0]["tag"] not in EARLIER
        ]

    assert wait.until(lambda: len(said()) >= count, BOUND, 0.2), (said(), log(pool)[-4000:])
    return said()


def accepted(pool: Installation) -> Path:
    """Where the accepted keys are."""
    return Path(pool.master.config["pki_dir"], "minions")


@contextmanager
def locked(pool: Installation) -> Iterator[None]:
    """Another change is under way."""
    script = (
        "import sys, time; from salina_fleet.change import exclusive; "
        "exclusive.take(sys.argv[1], 'mine'); time.sleep(300)"
    )
    utilities = {"PYTHONPATH": str(pool.repository / "fleet")}
    argv = [sys.executable, "-c", script, str(pool.state / "lock")]
    with subprocess.Popen(argv, env=utilities) as holder:
        try:
            assert wait.until(lambda: exclusive.holder(pool.state / "lock"), BOUND, 0.1)
            yield
        finally:
            holder.kill()


def fire(pool: Installation, host: str, tag: str) -> None:
    """A minion fires an event."""
    assert pool.salt(host, "event.send", tag).data is True


def forge(pool: Installation, minion: str, tag: str, data: dict[str, Any]) -> None:
    """A minion sends an event with data that it chooses freely, the id too."""
    events = [{"tag": tag, "data": data}]
    pool.ask(minion, {"cmd": "_minion_event", "id": minion, "events": events})


def refused(pool: Installation, minion: str) -> int:
    """Return how many requests of a minion the master has refused, for the reasons of `forge`."""
    found = re.findall(
        rf"Refused a request of {minion}: it fires an event whose (tag|data)", log(pool)
    )
    return len(found)


def test_s10_a_host_that_starts_joins(pool: Installation, event_listener: EventListener) -> None:
    """S10, K1: It joins once; its next start changes nothing; its key was not accepted by name."""
    before, since = [*accepted(pool).iterdir()], time.time()
    pool.minions["s4"].start()
    joins(pool, "s4")
    assert (members(pool), came(pool)) == (["s1", "s4"], ["s4"])
    shown = pool.run("fleet.status").data
    assert (shown["last change"]["joined"], shown["app"]["joining"]) == (["s4"], [])
    fire(pool, "s4", START)
    said = decided(pool, event_listener, since, 2)
    assert said.count("s4: it joins, unless something prevents it") == 1, said
    assert said[-1] == "nothing"
    assert came(pool) == ["s4"]
    assert [*accepted(pool).iterdir()] == before


def test_s10_events_in_quick_succession_are_one(
    pool: Installation, event_listener: EventListener
) -> None:
    """S10: A minion that flaps joins once, and its events do nothing during a change."""
    since = time.time()
    with locked(pool):
        fire(pool, "s4", START)
        (said,) = decided(pool, event_listener, since, 1)
    assert said == "s4: another change is running; the schedule looks again"
    assert (members(pool), came(pool)) == (["s1"], [])
    since = time.time()
    for _ in range(5):
        forge(pool, "s4", START, {"id": "s4"})
    answers = decided(pool, event_listener, since, 5)
    joins(pool, "s4")
    assert sum(one.startswith("s4: it joins") for one in answers) == 1, answers
    assert came(pool) == ["s4"]


def test_s10_a_forged_event_does_nothing(pool: Installation, event_listener: EventListener) -> None:
    """S10: Neither a stranger nor another minion can make s4 join with a forged event."""
    since = time.time()
    fire(pool, "s1", START)
    for minion in ("s6", "eve", "salt", ["s4"], "{{ 1 / 0 }}"):
        forge(pool, "s1", f"salt/minion/{minion}/start", {"id": minion})
    forge(pool, "s1", START, {"other": "no id"})
    forge(pool, "s1", "salt/minion/s1/start", {"id": "s4"})
    assert refused(pool, "s1") >= 2, "each reason once for each worker"
    for tag in ("salt/minion/s1/{{ 1 / 0 }}/start", "salt/minion/s1/s4/start"):
        forge(pool, "s1", tag, {"id": "s1"})
    forge(pool, "s1", "salt/minion/s1/x/start", {"other": "no id"})
    assert decided(pool, event_listener, since, 3) == ["nothing"] * 3
    fault = "s6 has no accepted key\nnext: salt-run fleet.user_data s6 FILE"
    told = pool.run("join.begin", "hosts=[s6]")
    assert told.returncode == 1 and fault in told.stdout + told.stderr
    assert (members(pool), came(pool)) == (["s1"], [])
    assert exclusive.holder(pool.state / "lock") == {}


@pytest.mark.proof
def test_s10_a_host_that_was_down_catches_up(pool: Installation) -> None:
    """S10: Its start event is enough. A failure is told, and not repeated without end."""
    behind = pool.state / "behind.json"
    behind.write_text('{"s1": {"since": "2026-11-28T08:00:00+00:00", "tried": 0, "error": ""}}')
    fire(pool, "s1", "salt/minion/s1/start")
    caught_up = wait.until(lambda: json.loads(behind.read_text()) == {}, BOUND, 0.2)
    assert caught_up, log(pool)[-4000:]
    assert (members(pool), came(pool)) == (["s1"], ["s1"])
    assert wait.until(lambda: not exclusive.holder(pool.state / "lock"), BOUND, 0.2)
    (pool.state / "broken").touch()
    behind.write_text('{"s1": {"since": "2026-11-28T08:00:00+00:00", "tried": 0, "error": ""}}')
    told = pool.run("join.catch_up")
    assert told.returncode == 1
    assert "s1 did not catch up: master: came (salt.runner)\n  it is broken" in log(pool)
    assert "it is broken" in pool.run("fleet.status").data["behind"]["s1"]["error"]
    (pool.state / "broken").unlink()
    assert pool.run("join.catch_up").data == ["s4"]
    assert came(pool) == ["s1", "s1", "s4"]


@pytest.mark.proof
def test_s10_a_joining_that_fails_is_told_and_waits(pool: Installation) -> None:
    """S10, K5: The log, fleet.status and join.plan report it, and the master does not repeat it
    without end.
    """
    (pool.state / "broken").touch()
    told = pool.run("join.catch_up")
    assert told.returncode == 1
    assert "s4 did not join: master: came (salt.runner)\n  it is broken" in log(pool)
    shown = pool.run("fleet.status").data
    assert shown["app"]["joining"] == ["s4"]
    assert "it is broken" in shown["failed to join"]
    waiting = pool.run("join.plan").data["waiting"]
    assert waiting["s4"].startswith("the join failed ") and "it is broken" in waiting["s4"]
    (pool.state / "broken").unlink()
    assert pool.run("join.catch_up").data == []
    file = pool.state / "last-join.json"
    tried = json.loads(file.read_text())
    file.write_text(json.dumps(tried | {"at": tried["at"] - join.RETRY}))
    assert pool.run("join.catch_up").data == ["s4"]
    assert came(pool) == ["s4", "s4"]
    assert not file.exists()


@pytest.mark.proof
def test_s10_what_was_interrupted_is_finished(pool: Installation) -> None:
    """S10, K2: The master finishes an interrupted join at once, an operator's change after a quiet
    time, and takes up no leaving host.
    """
    (pool.state / "members.json").write_text('{"app": ["s1", "s4"]}')
    unfinished = pool.state / "unfinished.json"
    unfinished.write_text('{"app": ["s4", "s5"]}')
    shutil.copy(accepted(pool) / "s4", accepted(pool) / "s5")
    found = pool.run("join.plan").data
    assert found["joining"] == {}
    assert (
        "was interrupted" in found["waiting"]["s4"]
        and "is removing this host" in found["waiting"]["s5"]
    )
    old = time.time() - join.QUIET
    os.utime(unfinished, (old, old))
    assert pool.run("join.plan").data["joining"] == {"app": ["s4"]}
    unfinished.write_text('{"app": ["s4"]}')
    (accepted(pool) / "s5").unlink()
    note = {"hosts": ["s4"], "at": time.time(), "error": ""}
    (pool.state / "last-join.json").write_text(json.dumps(note))
    assert pool.run("join.catch_up").data == ["s4"]
    assert settled(pool, "s4")


@pytest.mark.proof
def test_s10_a_lost_event_is_caught_up(pool: Installation) -> None:
    """S10, K2: A master that was down catches up with its schedule alone."""
    pool.master.terminate()
    only(pool.master, "schedule")
    pool.master.start()
    joins(pool, "s4")
    assert came(pool) == ["s4"]
