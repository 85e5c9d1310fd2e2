"""A change to a pool as the master plans and records it; no host is touched (S10)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salina_fleet.change import exclusive
from tests.integration.conftest import MINIONS, Installation

FILES = ("members.json", "unfinished.json")
FOLLOWERS = ("nas1", "nas2", "nas3", "bbdd1", "bbdd2", "lb1", "nagios", "ges")
ANSWERING = f"""

_silent = silent


def silent(opts, hosts, timeout):
    return _silent(opts, [host for host in hosts if host not in {FOLLOWERS}], timeout)
"""
"""The end of the master's `minions.py`: the hosts that this installation does not have answer."""


@pytest.fixture(scope="module", autouse=True)
def followers(installation: Installation) -> Iterator[Path]:
    """The hosts that follow a change answer."""
    file = installation.repository / "fleet/salina_fleet/minions.py"
    text = file.read_text()
    file.write_text(text + ANSWERING)
    yield file
    file.write_text(text)


@pytest.fixture(autouse=True)
def restored(installation: Installation) -> Iterator[None]:
    """No test leaves another members file than it found."""
    yield
    for name in (*FILES, "behind.json"):
        (installation.state / name).unlink(missing_ok=True)


def recorded(installation: Installation) -> list[dict[str, list[str]] | None]:
    """Return the content of the members file and of the file of unfinished hosts."""
    files = [installation.state / name for name in FILES]
    return [json.loads(file.read_text()) if file.exists() else None for file in files]


def test_s10_a_plan_changes_nothing(installation: Installation) -> None:
    """S10: The plan lists joining and leaving hosts, and the hosts whose rules name the pool's
    hosts.
    """
    plan = installation.run("fleet.plan", "pool=app", "count=4").data
    assert (plan["joining"], plan["leaving"]) == (["s4"], [])
    assert plan["neighbours"] == ["nas1", "nas2", "nas3", "bbdd1", "bbdd2"]
    assert plan["balancers"] == ["lb1"]
    assert plan["watchers"] == ["nagios", "ges"]
    assert recorded(installation) == [None, None]


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (["pool=web", "count=3"], 'pool: "web" is not a pool; choose one of: app'),
        *(
            pytest.param(request, fault, marks=pytest.mark.proof)
            for request, fault in [
                (["pool=app", "count=99"], "count: 99 is not valid; must be a number from 1 to 10"),
                (["pool=app", "remove=[s1, s2, s3]"], "app: the pool would have 0 members"),
                (["pool=app", "remove=[s9]"], 'remove: "s9" is not a member'),
                (["pool=app", "add=[nas1]"], 'add: "nas1" is not valid; must be s{n} with n from'),
                (["pool=app", "cuont=3"], "cuont: unknown"),
            ]
        ),
    ],
)
def test_s10_a_bad_request_changes_nothing(
    installation: Installation, request_: list[str], fault: str
) -> None:
    """S10, K5: There is one clear error, the exit code is not 0, and nothing is recorded or
    locked.
    """
    for function in ("fleet.plan", "change.begin"):
        told = installation.run(function, *request_)
        assert told.returncode == 1
        assert fault in told.stdout + told.stderr
    assert recorded(installation) == [None, None]
    assert installation.run("fleet.status").data["running"] is None


def test_s10_hosts_that_a_change_needs_are_down(
    installation: Installation, followers: Path
) -> None:
    """S10, K5: Only nas1 answers: each role that cannot spare a host is named, and nothing is
    recorded.
    """
    text = followers.read_text()
    followers.write_text(text.removesuffix(ANSWERING))
    try:
        told = installation.run("change.begin", "pool=app", "count=4")
    finally:
        followers.write_text(text)
    assert told.returncode == 1
    said = told.stdout + told.stderr
    assert "lb1: no answer; no host with role balancer may be down" in said
    assert "nas2, nas3: no answer; at most 1 of the 3 hosts with role storage may be down" in said
    assert "bbdd1, bbdd2: no answer; at most 1 of the 2 hosts with role database may be" in said
    assert recorded(installation) == [None, None]
    assert not (installation.state / "behind.json").exists()


def test_s10_the_orchestration_tells_of_a_bad_request(installation: Installation) -> None:
    """S10, K5: The error has the runner's words and no traceback, and nothing is recorded."""
    told = scale(installation, count=99)
    assert told.returncode == 1
    assert "count: 99 is not valid; must be a number from 1 to 10" in told.stdout
    assert "Traceback" not in told.stdout
    assert recorded(installation) == [None, None]


def test_s10_what_was_begun_is_wanted_and_unfinished(installation: Installation) -> None:
    """S10, K2: Every pillar knows the new member, and the same request again finishes the change
    once.
    """
    first, again = (installation.run("change.begin", "pool=app", "count=4").data for _ in range(2))
    (create,) = (step for step in again["steps"] if step.get("runner") == "change.create")
    assert create["arguments"].pop("again") == ["s4"]
    assert again == first
    assert recorded(installation) == [{"app": ["s1", "s2", "s3", "s4"]}, {"app": ["s4"]}]
    three, four = ["s1", "s2", "s3"], ["s1", "s2", "s3", "s4"]
    shown = installation.run("fleet.status").data["app"]
    assert shown == {"members": three, "wanted": four, "joining": ["s4"], "leaving": []}
    assert "10.1.4.14" in json.dumps(installation.run("pillar.show_pillar", "nas1").data)
    back = installation.run("change.begin", "pool=app", "count=3").data
    assert (back["joining"], back["leaving"]) == ([], ["s4"])
    shown = installation.run("fleet.status").data["app"]
    assert shown == {"members": four, "wanted": three, "joining": [], "leaving": ["s4"]}
    assert installation.run("change.done", "app").data["left"] == ["s4"]
    assert recorded(installation) == [{"app": ["s1", "s2", "s3"]}, {"app": []}]


def test_s10_what_is_so_already_is_not_recorded(installation: Installation) -> None:
    """S10, K1: The same count again has no step and writes nothing."""
    assert installation.run("change.begin", "pool=app", "count=3").data["steps"] == []
    assert scale(installation, count=3).returncode == 0
    assert recorded(installation) == [None, None]


def scale(installation: Installation, **request: Any) -> Any:
    """`orch.scale` with a request for the pool."""
    pillar = json.dumps({"pool": "app", **request})
    return installation.run("state.orchestrate", "orch.scale", f"pillar={pillar}")


PROVISIONER = """\
#!/bin/sh
echo "$*" >>"$0.calls"
[ "$*" != "create s4" ] || { echo no room >&2; exit 3; }
"""


@pytest.fixture
def provisioner(installation: Installation) -> Iterator[Path]:
    """One that can't make s4, and whose s5 never comes."""
    script = installation.state / "provisioner"
    script.write_text(PROVISIONER)
    script.chmod(0o755)
    conf = Path(installation.master.config["conf_file"]).parent / "master.d" / "provisioner.conf"
    conf.write_text(json.dumps({"salina": {"provisioner": str(script)}}))
    yield script
    conf.unlink()


def test_s10_hosts_that_never_come_are_taken_out(
    installation: Installation, provisioner: Path
) -> None:
    """S10, K5: The error names each with its reason, and neither its membership nor its key
    remains.
    """
    assert installation.run("change.begin", "pool=app", "count=5").returncode == 0
    told = installation.run("change.create", "hosts=[s4, s5]", "timeout=1")
    assert told.returncode == 1
    said = told.stdout + told.stderr
    taken_out = "was taken out of the pool"
    assert (
        f"s4 {taken_out}, because {provisioner} create s4 ended with exit code 3: no room" in said
    )
    assert f"s5 {taken_out}, because it did not answer within 1 s" in said
    assert recorded(installation) == [{"app": ["s1", "s2", "s3"]}, {"app": []}]
    assert sorted(file.name for file in keys(installation).iterdir()) == sorted(MINIONS)
    calls = provisioner.with_name("provisioner.calls").read_text().splitlines()
    assert sorted(calls[:2]) == ["create s4", "create s5"]
    assert sorted(calls[2:]) == ["destroy s4", "destroy s5"]


@pytest.mark.proof
def test_s10_others_may_know_a_host_of_an_interrupted_change(
    installation: Installation, provisioner: Path
) -> None:
    """S10, K2: The change stays unfinished, and the next change updates those hosts."""
    for _ in range(2):
        assert installation.run("change.begin", "pool=app", "count=4").returncode == 0
    told = installation.run("change.create", "hosts=[s4]", "timeout=1", "again=[s4]")
    assert told.returncode == 1
    assert recorded(installation) == [{"app": ["s1", "s2", "s3"]}, {"app": ["s4"]}]
    assert installation.run("change.begin", "pool=app", "count=3").data["leaving"] == ["s4"]


def keys(installation: Installation) -> Path:
    """Where the accepted keys are."""
    return Path(installation.master.config["pki_dir"]) / "minions"


@pytest.mark.parametrize("file", FILES)
def test_s10_a_damaged_file_stops_a_change(installation: Installation, file: str) -> None:
    """S10, K5: A damaged file is named and not overwritten."""
    (installation.state / file).write_text('{"app": ["s1", ')
    told = installation.run("change.begin", "pool=app", "count=4")
    assert told.returncode == 1
    assert f"{installation.state}/{file}" in told.stdout + told.stderr
    assert "the file is damaged" in told.stdout + told.stderr
    assert (installation.state / file).read_text() == '{"app": ["s1", '


def test_s10_two_at_once(installation: Installation) -> None:
    """S10: The second change learns which process holds the lock, and since when."""
    script = (
        "import sys, time; from salina_fleet.change import exclusive; "
        "exclusive.take(sys.argv[1], 'mine'); time.sleep(60)"
    )
    utilities = str(installation.repository / "fleet")
    lock = installation.state / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(lock)], env={"PYTHONPATH": utilities}
    )
    try:
        end = time.monotonic() + 20
        while not exclusive.holder(lock):
            assert time.monotonic() < end, "the other change did not begin within 20 s"
        since = exclusive.holder(lock)["since"]
        told = installation.run("change.begin", "pool=app", "count=4")
        assert told.returncode == 1
        said = told.stdout + told.stderr
        assert f"another change is running: mine, since {since} (process {holder.pid})" in said
        assert f"since {since} (process {holder.pid})" in scale(installation, count=4).stdout
        assert recorded(installation) == [None, None]
    finally:
        holder.kill()
        holder.wait()
    assert installation.run("change.begin", "pool=app", "count=4").returncode == 0


def test_s10_an_orchestration_without_a_request_changes_nothing(
    installation: Installation,
) -> None:
    """S10, K5: The prediction names the missing pool, too, and does not plan an apply instead."""
    for options in ([], ["test=True"]):
        told = installation.run("state.orchestrate", "orch.scale", *options)
        assert told.returncode == 1
        assert "pool: empty; choose one of: app" in told.stdout
    assert recorded(installation) == [None, None]
