"""Interruptions of Salt itself on the running lab: applies, the master, orchestrations, single
steps.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from salina.common import wait
from tests.lab import lab
from tests.lab.lab import LAB, Results, fault, heal, run, salt, shell
from tests.lab.tiers import APPS, leader, sql

pytestmark = [pytest.mark.lab, pytest.mark.slow]

MASTER = "salt"
BARE = ["s3", "bbdd2"]
EARLY = "nas1"  # of the first tier after the master's
LONGEST = 8  # seconds of an apply until it is killed
ORCHESTRATE = [LAB, "salt-run", "state.orchestrate", "orch.deploy"]


@pytest.fixture
def moments(capsys: pytest.CaptureFixture[str]) -> random.Random:
    """The moment of a kill, and the way it is done."""
    seed = os.environ.get("SEED") or str(time.time_ns() % 1_000_000)
    with capsys.disabled():
        print(f" SEED={seed} ", end="", flush=True)
    return random.Random(seed)


@pytest.fixture
def mended() -> Iterator[None]:
    """The test breaks hosts."""
    yield
    heal(MASTER, *APPS, *BARE, EARLY)
    ready()


def ready(*hosts: str) -> None:
    """Wait until these hosts' minions answer and apply nothing; without names, all of them."""
    lab.lab("salt-run", "fleet.ready", *([f"hosts={json.dumps(hosts)}"] if hosts else []))


def applied(*hosts: str) -> Results:
    """Apply on these hosts, without names on all of them, and return the results."""
    if not hosts:
        return lab.highstate()
    found = lab.results(salt("-L", ",".join(hosts), "state.apply"))
    assert set(found) == set(hosts)
    return found


def ends_without_a_change_after_it(*hosts: str) -> None:
    """The next apply succeeds, and the one after it has nothing left to do."""
    assert not lab.failures(applied(*hosts))
    ready(*hosts)
    found = applied(*hosts)
    assert not lab.failures(found)
    assert not lab.changes(found)


# An apply


def minion_killed(*hosts: str) -> None:
    """The minion and all that it began but apt, which goes on in a unit of its own."""
    for host in hosts:
        run(host, "systemctl", "kill", "--signal=KILL", "salt-minion")


def job_killed(*hosts: str) -> None:
    """The job alone, as for a lack of memory."""
    for host in hosts:
        run(host, "pkill", "--signal=KILL", "--full", "ProcessPayload", check=False)


def power_cut(*hosts: str) -> None:
    fault("kill", *hosts)
    heal(*hosts)


@pytest.mark.proof
@pytest.mark.parametrize(
    "deaths",
    [
        [minion_killed, power_cut, job_killed],
        [minion_killed] * 5 + [power_cut] * 3 + [job_killed] * 2,
    ],
    ids=["three", "ten"],
)
def test_s15_an_apply_killed_at_several_moments(
    deaths: list[Callable[..., None]], mended: None, moments: random.Random
) -> None:
    """S15, K2: Bare hosts converge although their applies are killed again and again."""
    deaths = moments.sample(deaths, len(deaths))
    lab.lab("rebuild", *BARE)
    for death in deaths:
        lab.lab("salt", "--async", "-L", ",".join(BARE), "state.apply")
        time.sleep(moments.uniform(0, LONGEST))
        death(*BARE)
        ready(*BARE)
    ends_without_a_change_after_it(*BARE)
    lab.lab("status")


# The master


def master_killed() -> None:
    run(MASTER, "systemctl", "kill", "--signal=KILL", "salt-master")


def master_lost() -> None:
    """Its host loses its power; systemd starts the master again with the host."""
    power_cut(MASTER)


@pytest.mark.parametrize(
    "death", [master_killed, pytest.param(master_lost, marks=pytest.mark.proof)]
)
def test_s15_the_master_killed_during_an_apply(
    death: Callable[[], None], mended: None, moments: random.Random
) -> None:
    """S15, K2: The minions finish or stop, and the next apply finishes when the master is back."""
    hosts = ["s3", "nas2", "fw"]
    for host in hosts:  # something to do
        run(host, "ufw", "allow", "99/tcp")
        run(host, "rm", "--force", "/etc/tmpfiles.d/salina-minion.conf")
    lab.lab("salt", "--async", "-L", ",".join(hosts), "state.apply")
    time.sleep(moments.uniform(0, LONGEST))
    death()
    ready()
    ends_without_a_change_after_it(*hosts)


# An orchestration


@contextmanager
def deploying() -> Iterator[subprocess.Popen[str]]:
    """An orchestration, at the moment when it applies on an early host."""
    process = subprocess.Popen(
        ORCHESTRATE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    jobs = "grep -l state.highstate /var/cache/salt/minion/proc/*"
    assert wait.until(lambda: shell(EARLY, jobs, check=False), 120, 0.1)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.proof
def test_s15_what_an_interrupted_orchestration_leaves_the_next_one_finishes(mended: None) -> None:
    """S15, K2, K5: The orchestration names a minion that dies, and its exit code says so.

    When the orchestration itself dies, no lock and no job remains that could stop the next one.
    """
    with deploying() as orchestration:
        minion_killed(EARLY)
        said, _ = orchestration.communicate(timeout=240)
        assert orchestration.returncode != 0, said
        assert EARLY in said
    ready(EARLY)
    with deploying():
        run(MASTER, "pkill", "--signal=KILL", "--full", "salt-run.*orch.deploy")
        begin = time.monotonic()
        subprocess.run(ORCHESTRATE, check=True, capture_output=True)
        assert time.monotonic() - begin < 180
    assert not lab.changes(applied())


# A step that is done once


@pytest.mark.parametrize("death", [job_killed, pytest.param(power_cut, marks=pytest.mark.proof)])
def test_s9_another_host_does_what_a_killed_one_began(
    death: Callable[..., None], mended: None
) -> None:
    """S9, K2: A host that dies gives up its turn and its command, and one waiting host does the
    step.
    """
    step = f"test {uuid.uuid4().hex}"
    shared = f"/mnt/nas/crm/{step.replace(' ', '-')}"
    # the first one never ends
    script = f"hostname >> {shared}; [ $(wc -l < {shared}) -gt 1 ] || exec sleep 7777"
    once = ["once.run", step, json.dumps(["sh", "-c", script]), "odoo", "/"]
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    primary = leader()
    try:
        lab.lab("salt", "--async", "s1", *once)
        assert wait.until(lambda: shell("s1", f"cat {shared}", check=False), 30)
        with ThreadPoolExecutor() as pool:
            answers = pool.submit(salt, "-L", "s2,s3", *once)
            assert wait.until(lambda: sql(primary, waiting, "crm") == "2", 30)
            begin = time.monotonic()
            death("s1")
            assert wait.until(lambda: not shell("s1", "pgrep sleep || true"), 5)
            found = answers.result()
        assert time.monotonic() - begin < 60
        first, second = run("s2", "cat", shared).split()
        assert first == "s1"
        other = "s3" if second == "s2" else "s2"
        assert found[second] == ""
        assert found[other].startswith(f"{second} at ")
    finally:
        heal("s1")
        run("s2", "rm", "--force", shared)
        sql(leader(), f"DELETE FROM salina_once WHERE step = '{step}'", "crm")
