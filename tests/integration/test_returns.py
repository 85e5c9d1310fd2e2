"""Nobody returns a job, or fires an event, in another host's name (X4).

s1 is hostile: it has a key that the master accepted, and sends what no minion of Salt would send.
It sees each job and its number, because the master publishes them to every minion.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import salt.payload
import zmq
from salt.exceptions import CommandExecutionError
from salt.utils.jid import jid_dir
from saltfactories.manager import FactoriesManager
from saltfactories.plugins.event_listener import EventListener

from salina.common import wait
from salina_fleet import guard
from tests.integration.conftest import Installation, lay_out

Send = Callable[[Installation, str], Any]
FORGED = {"fun": "test.ping", "fun_args": [], "return": "forged", "retcode": 0, "success": True}
NUMBERS = itertools.count(1)
EVENTS, BOUND = 10, 30


def raw(installation: Installation, kind: str, load: dict[str, Any]) -> Any:
    """Send a request over a plain socket, as anybody can who reaches the master's port."""
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(f"tcp://127.0.0.1:{installation.master.config['ret_port']}")
        package = {"enc": kind, "version": 3, "id": load["id"], "load": load}
        socket.send(salt.payload.dumps(package))
        return salt.payload.loads(socket.recv()) if socket.poll(BOUND * 1000) else "no answer"


def tag(jid: str) -> str:
    return f"salt/job/{jid}/ret/nas1"


def from_s1(installation: Installation, command: str, **load: Any) -> Any:
    return installation.ask("s1", {"cmd": command, "id": "s1", **load})


def event(installation: Installation, jid: str) -> Any:
    events = [{"tag": tag(jid), "data": {"id": "nas1", "jid": jid, **FORGED}}]
    return from_s1(installation, "_minion_event", events=events)


def preload(installation: Installation, jid: str) -> Any:
    return from_s1(installation, "_minion_event", tag=tag(jid), data={}, jid=jid, **FORGED)


def pretag(installation: Installation, jid: str) -> Any:
    data = {"id": "nas1", "jid": jid, **FORGED}
    events = [{"tag": f"{jid}/ret/nas1", "data": data}]
    return from_s1(installation, "_minion_event", events=events, pretag="salt/job")


def own_tag(installation: Installation, jid: str) -> Any:
    events = [{"tag": "salt/minion/s1/x", "data": {"id": "nas1", "jid": jid, **FORGED}}]
    return from_s1(installation, "_minion_event", events=events)


def syndic(installation: Installation, jid: str) -> Any:
    return from_s1(installation, "_syndic_return", jid=jid, **FORGED | {"return": {"nas1": FORGED}})


def syndics(installation: Installation, jid: str) -> Any:
    one = {"id": "s1", "jid": jid, **FORGED, "return": {"nas1": FORGED}}
    return from_s1(installation, "_syndic_return", load=[one])


def resource(installation: Installation, jid: str) -> Any:
    return from_s1(installation, "_return", jid=jid, resource_id="nas1", **FORGED)


def unauthenticated(installation: Installation, jid: str) -> Any:
    load = {"cmd": "_return", "id": "nas1", "jid": jid, **FORGED}
    return [raw(installation, kind, dict(load)) for kind in ("pub", "none", "AES")]


WAYS: tuple[tuple[Send, str], ...] = (
    (event, "s1: it fires an event whose tag does not name the sender"),
    (preload, "s1: it fires an event whose tag does not name the sender"),
    (pretag, "s1: it forwards events as a syndic, and this master has none"),
    (own_tag, "s1: it fires an event whose data names another host"),
    (syndic, "s1: it returns jobs as a syndic, and this master has none"),
    (syndics, "s1: it returns jobs as a syndic, and this master has none"),
    (resource, "s1: it returns a job in the name of a resource"),
    (unauthenticated, "somebody without a key: its sender is not authenticated"),
)
EACH_WAY = pytest.mark.parametrize(
    ("send", "logged"), WAYS, ids=lambda one: getattr(one, "__name__", "")
)


def log(installation: Installation) -> str:
    return Path(installation.master.config["log_file"]).read_text()


def stored(installation: Installation, jid: str) -> set[str]:
    """Return the hosts whose returns the master has stored."""
    config = installation.master.config
    folder = Path(jid_dir(jid, str(Path(config["cachedir"], "jobs")), config["hash_type"]))
    return {one.name for one in folder.iterdir() if one.is_dir()} if folder.exists() else set()


@EACH_WAY
def test_x4_a_forged_return_is_refused(
    installation: Installation, event_listener: EventListener, send: Send, logged: str
) -> None:
    """X4: It reaches neither the master's bus nor its store of jobs, and the master logs it."""
    jid, since = f"20990101000000{next(NUMBERS):06}", time.time()
    send(installation, jid)
    installation.ask("s1", {"cmd": "_return", "id": "s1", "jid": jid, **FORGED | {"return": 1}})

    def heard() -> dict[str, Any]:
        events = event_listener.get_events([(installation.master.id, "*")], after_time=since)
        return {one.tag: one.data for one in events if jid in json.dumps([one.tag, one.data])}

    own = f"salt/job/{jid}/ret/s1"
    assert wait.until(lambda: own in heard(), BOUND, 0.2), "its own return is heard"
    assert "forged" not in json.dumps(heard())
    assert wait.until(lambda: stored(installation, jid) == {"s1"}, BOUND, 0.2)
    assert f"Refused a request of {logged}" in log(installation)


def test_x4_a_job_gets_its_own_answer(
    installation: Installation, event_listener: EventListener
) -> None:
    """X4: The master waits for the true answer while s1 forges it in every way."""
    since, new = time.time(), [(installation.master.id, "salt/job/*/new")]
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(installation.salt, "nas1", "test.sleep", "10")

        def published() -> list[str]:
            jobs = [one.data for one in event_listener.get_events(new, after_time=since)]
            return [job["jid"] for job in jobs if job["fun"] == "test.sleep"]

        assert wait.until(lambda: bool(published()), BOUND, 0.1), "the job was not published"
        (jid,) = published()
        for send, _ in WAYS:
            send(installation, jid)
        assert not asked.done(), "the forgeries came after the answer"
        assert asked.result().data is True
    assert installation.run("jobs.lookup_jid", jid).data == {"nas1": True}


def test_x4_nobody_calls_a_runner_in_another_name(installation: Installation) -> None:
    """X4: A client without a key takes no turn for nas1."""
    load = {"cmd": "minion_runner", "id": "nas1", "fun": "turn.take", "arg": ["storage", "forged"]}
    for kind in ("pub", "none"):
        raw(installation, kind, dict(load))
    assert installation.run("turn.show").data == {}
    installation.ask("nas1", {**load, "arg": ["storage", "its own"]})
    assert installation.run("turn.show").data["storage"][0]["what"] == "its own"
    installation.run("turn.clear", "nas1")


def test_x4_no_minion_registers_another_host_as_its_resource(installation: Installation) -> None:
    """X4: Otherwise the master would ask s1 when it asks nas1."""
    loads = {"resources": {"dummy": ["nas1"]}, "resource_grains": {}}
    from_s1(installation, "_register_resources", **loads)
    assert "s1: it registers resources, and this fleet has none" in log(installation)
    assert installation.salt("nas1", "test.ping").data is True


def test_x4_a_minion_calls_exactly_the_runners_that_it_may(installation: Installation) -> None:
    """X4: A name that only begins with the name of a permitted runner, or resembles it, is
    refused.
    """
    for name in ("turn", "turn_take"):
        file = installation.repository / f"_runners/{name}_all.py"
        file.write_text("def taken():\n    return 'reached'\n")
    turn = installation.repository / "_runners/turn.py"
    before = turn.read_text()
    try:
        turn.write_text(before + "\n\ndef taken():\n    return 'reached'\n")
        for name in ("turn_take_all.taken", "turn.taken", "turn_all.taken"):
            assert "reached" in installation.run(name).stdout
        for name in ("turn_take_all.taken", "turn.taken", "turn_all.taken"):
            assert "reached" not in str(from_s1(installation, "minion_runner", fun=name, arg=[]))
    finally:
        turn.write_text(before)
        for name in ("turn", "turn_take"):
            (installation.repository / f"_runners/{name}_all.py").unlink()


@pytest.mark.proof
def test_x4_a_flood_of_events_ends_at_the_workers(
    installation: Installation, event_listener: EventListener
) -> None:
    """X4: A few of many start events reach the reactor, and each worker logs the flood once.

    Another minion's event arrives meanwhile.
    """
    since, workers = time.time(), int(installation.master.config["worker_threads"])
    start = "salt/minion/{}/start"
    for _ in range(150):
        from_s1(installation, "_minion_event", tag=start.format("s1"), data="started")
    other = {"cmd": "_minion_event", "id": "nas1", "tag": start.format("nas1"), "data": "started"}
    installation.ask("nas1", other)

    def heard(name: str) -> int:
        wanted = [(installation.master.id, start.format(name))]
        return len(event_listener.get_events(wanted, after_time=since))

    assert wait.until(lambda: heard("nas1") == 1, BOUND, 0.2)
    assert 0 < heard("s1") <= 2 * EVENTS * workers  # a new period may begin meanwhile
    flood = "Refused a request of s1: more than 10 events in 60 s"
    assert 1 <= log(installation).count(flood) <= 2 * workers


def test_x4_a_change_needs_a_master_that_refuses(
    installation: Installation,
    place: Path,
    repository: Path,
    salt_factories: FactoriesManager,
) -> None:
    """X4: Salt as it is answers the check in another way, and so no change begins."""
    guard.ensure(installation.master.config)
    bare = salt_factories.salt_master_daemon("bare_master")
    lay_out(repository, bare, place / "bare", place / "bare-state")
    drop_ins = Path(bare.config["conf_file"]).parent / "master.d"
    (drop_ins / "20-security.conf").unlink()
    with bare.started():
        with pytest.raises(CommandExecutionError, match="would accept forged returns"):
            guard.ensure(bare.config)
        told = bare.salt_run_cli(timeout=120).run("change.begin", "pool=app", "count=4")
        assert told.returncode == 1
        assert "link master.d/20-security.conf into /etc/salt/master.d" in told.stdout + told.stderr
    assert not (place / "bare-state/members.json").exists()
