"""A hostile minion of the running fleet forges returns, events and runner calls (X4).

tests/integration/test_returns.py attacks in more ways, on a master of its own.
"""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from salina.common import wait
from tests.lab import lab

pytestmark = [pytest.mark.lab, pytest.mark.proof]

HOSTILE, OTHER, MASTER = "s1", "nas1", "salt"
PYTHON, LOG = "/opt/salt/bin/python", "/var/log/salt/master"
EVENTS, MOST_SECONDS = 2000, 30

# Salt's client would put the minion's own id into each request.
ATTACK = """
import json, sys
import salt.channel.client, salt.config, salt.exceptions, salt.payload, zmq

class Forged(dict):
    def __setitem__(self, key, value):
        if key != "id":
            super().__setitem__(key, value)

given = json.load(sys.stdin)
opts = salt.config.minion_config("/etc/salt/minion")
uri = f"tcp://{opts['master']}:{opts['master_port']}"
with salt.channel.client.ReqChannel.factory(opts, master_uri=uri) as channel:
    for load in given["loads"] * given["times"]:
        try:
            channel.send(Forged(load), tries=1, timeout=30)
        except salt.exceptions.AuthenticationError:
            pass  # the answer is encrypted for the host that was named
with zmq.Context() as context:
    for load in given["raw"]:
        with context.socket(zmq.REQ) as socket:
            socket.linger = 0
            socket.connect(uri)
            package = {"enc": "none", "version": 3, "id": load["id"], "load": load}
            socket.send(salt.payload.dumps(package))
            assert socket.poll(30000), "the master does not answer"
"""


def attack(*loads: dict[str, Any], raw: tuple[dict[str, Any], ...] = (), times: int = 1) -> None:
    """Send requests from the hostile host: with its key, and `raw` ones without any."""
    given = json.dumps({"loads": loads, "raw": raw, "times": times})
    lab.run(HOSTILE, PYTHON, "-c", ATTACK, given=given)


def lines() -> int:
    return int(lab.run(MASTER, "sh", "-c", f"wc -l < {LOG}"))


def since(line: int) -> str:
    return lab.run(MASTER, "tail", "-n", f"+{line + 1}", LOG)


def job(seconds: int) -> str:
    """Return the number of the job that sleeps on the other host."""
    found: list[str] = []

    def running() -> bool:
        jobs = lab.salt(OTHER, "saltutil.running")[OTHER]
        found[:] = [one["jid"] for one in jobs if one["fun"] == "test.sleep"]
        return bool(found)

    assert wait.until(running, seconds)
    return found[0]


def test_x4_a_hostile_minion_answers_for_nobody_else() -> None:
    """X4: A job gets the other host's own answer, and the master logs each forged one."""
    before = lines()
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(lab.salt, OTHER, "test.sleep", "20")
        jid = job(15)
        forged = {"jid": jid, "fun": "test.sleep", "return": "forged", "retcode": 0}
        tag, event = f"salt/job/{jid}/ret/{OTHER}", {"cmd": "_minion_event", "id": HOSTILE}
        attack(
            {**event, "events": [{"tag": tag, "data": {"id": OTHER, **forged}}]},
            {**event, "tag": tag, "data": {}, **forged},
            {"cmd": "_syndic_return", "id": HOSTILE, **forged, "return": {OTHER: forged}},
            {"cmd": "_return", "id": HOSTILE, "resource_id": OTHER, **forged},
            raw=({"cmd": "_return", "id": OTHER, **forged},),
        )
        assert asked.result() == {OTHER: True}
    said = since(before)
    for logged in (
        f"{HOSTILE}: it fires an event whose tag does not name the sender",
        f"{HOSTILE}: it returns jobs as a syndic, and this master has none",
        f"{HOSTILE}: it returns a job in the name of a resource",
        "somebody without a key: its sender is not authenticated",
    ):
        assert f"Refused a request of {logged}" in said


def test_x4_nobody_takes_a_turn_for_another_host() -> None:
    """X4: A client without a key calls no runner in another name."""
    what = uuid.uuid4().hex
    call = {"cmd": "minion_runner", "fun": "turn.take", "arg": ["storage", what]}
    attack({**call, "id": OTHER}, raw=({**call, "id": OTHER},))
    assert what not in lab.salt_run("turn.show").stdout


def test_x4_a_flood_of_start_events_is_cheap() -> None:
    """X4: 2,000 of them take the master some seconds of a processor, and few lines of its log."""

    def spent() -> int:
        listed = lab.run(MASTER, "ps", "-eo", "cputimes=,args=")
        rows = [line.split(None, 1) for line in listed.splitlines()]
        return sum(int(seconds) for seconds, command in rows if "salt-master" in command)

    before, then = lines(), spent()
    tag = f"salt/minion/{HOSTILE}/start"
    attack({"cmd": "_minion_event", "id": HOSTILE, "tag": tag, "data": "x"}, times=EVENTS)
    assert lab.salt(OTHER, "test.ping") == {OTHER: True}
    assert spent() - then < MOST_SECONDS
    told = since(before).count(f"Refused a request of {HOSTILE}: more than ")
    assert 0 < told <= 20
