"""The requests that the master refuses: _guard/refuse.py (X4)."""

from __future__ import annotations

import asyncio
import logging
import sys
from types import ModuleType
from typing import Any

import pytest

from salina_fleet import guard
from tests.loading import load

REFUSE = load("_guard/refuse.py")


def request(command: str, **more: Any) -> dict[str, Any]:
    return {"enc": "aes", "load": {"cmd": command, "id": "s1", **more}}


def start(name: str = "s1", **more: Any) -> dict[str, Any]:
    """Return a minion's start event, as Salt sends it."""
    event = {"tag": f"salt/minion/{name}/start", "data": "started", "pretag": None}
    return {"enc": "aes", "load": {"cmd": "_minion_event", "id": name, **event, **more}}


def several(*events: object) -> dict[str, Any]:
    return request("_minion_event", events=[*events], pretag=None)


BEACON = {"tag": "salt/beacon/s1/load/", "data": {"id": "s1", "1m": 0.4}}


@pytest.mark.parametrize(
    "payload",
    [
        {"enc": "clear", "load": {"cmd": "publish", "key": "…"}},
        request("_return", jid="1", **{"return": True}),
        request("_pillar", grains={}),
        request("minion_runner", fun="turn.take", arg=[]),
        request("_register_resources", resources={}, resource_grains={}),
        start(),
        start(grains={"os": "Debian"}),
        several(BEACON, {"tag": "salt/minion/s1/note", "data": "text"}),
        request("_minion_event", tag="_salt_error", data={"message": "…"}),
    ],
)
def test_x4_what_a_minion_of_this_fleet_sends_is_let_in(payload: dict[str, Any]) -> None:
    """X4: Also what an operator's beacons send."""
    assert REFUSE.fault(payload) == ""


TAG = "it fires an event whose tag does not name the sender"
DATA = "it fires an event whose data names another host"


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ({"enc": "pub", "load": {"cmd": "_return", "id": "s1"}}, "its sender is not authenticated"),
        ({"load": {"cmd": "_return", "id": "s1"}}, "its sender is not authenticated"),
        ({"enc": "aes", "load": {"cmd": "_return"}}, "it has no id or no command"),
        ({"enc": "aes", "load": {"id": "s1"}}, "it has no id or no command"),
        ({"enc": "aes", "load": "text"}, "it has no id or no command"),
        (
            request("_syndic_return", load=[]),
            "it returns jobs as a syndic, and this master has none",
        ),
        (request("_return", resource_id="s2"), "it returns a job in the name of a resource"),
        (request("_return", resource_id=""), "it returns a job in the name of a resource"),
        (
            request("_register_resources", resources={"ssh": ["s2"]}),
            "it registers resources, and this fleet has none",
        ),
        (start(pretag="salt"), "it forwards events as a syndic, and this master has none"),
        (start(tag="salt/minion/s2/start"), TAG),
        (start(tag="salt/job/1/ret/s2"), TAG),
        (start(tag="salt/job/1/ret/s1"), TAG),
        (start(tag="salt/minion/s1"), TAG),
        (start(tag="salt/minion/s11/start"), TAG),
        (start(tag="x/salt/minion/s1/start"), TAG),
        (start(tag="salt/run/1/args"), TAG),
        (start(tag="minion_start"), TAG),
        (start(tag=None), TAG),
        (start(tag=["salt/minion/s1/start"]), TAG),
        (request("_minion_event"), TAG),
        (several(BEACON, "text"), TAG),
        (several(BEACON, {"tag": "salt/beacon/s2/load/", "data": {}}), TAG),
        (several({"tag": "salt/minion/s1/start", "data": {"id": "s2"}}), DATA),
        (several({"tag": "salt/minion/s1/start", "id": "s2"}), DATA),
        (
            several({"tag": "salt/minion/s1/x", "data": {"jid": "1", "minions": ["s2"]}}),
            "it fires an event that tells who gets a job",
        ),
        (request("_minion_event", events={"tag": "x"}), "its events are not a list"),
    ],
)
def test_x4_a_forged_request_is_refused(payload: dict[str, Any], fault: str) -> None:
    """X4: In every way in which a request can name another host."""
    assert REFUSE.fault(payload) == fault
    assert REFUSE.Gate().refuses(payload, 0.0)


def test_x4_the_masters_own_check_is_refused_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """X4: A change asks for it each time."""
    assert REFUSE.Gate().refuses({**guard.CHECK}, 0.0)
    assert [record.levelno for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_x4_an_id_is_no_pattern() -> None:
    """X4: A dot in an id stands for itself."""
    assert REFUSE.fault(start("a.b")) == ""
    assert REFUSE.fault(start("a.b", tag="salt/minion/a-b/start")) == TAG


def test_x4_a_flood_of_events_is_cut_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """X4: It costs other minions nothing, and ends with the period."""
    gate = REFUSE.Gate()
    passed = [not gate.refuses(start(), 0.01 * number) for number in range(2000)]
    assert passed == [True] * REFUSE.EVENTS + [False] * (2000 - REFUSE.EVENTS)
    assert not gate.refuses(start("s2"), 20.0)
    assert not gate.refuses(request("_return", jid="1"), 20.0)
    assert caplog.messages == ["Refused a request of s1: more than 10 events in 60 s"]
    assert not gate.refuses(start(), REFUSE.PERIOD + 1)
    assert gate.refuses(several(*[BEACON] * 10), REFUSE.PERIOD + 1)
    assert caplog.messages[1:] == [
        "Refused a request of s1: more than 10 events in 60 s (1989 more since the last message)"
    ]


def test_x4_the_events_in_one_request_count(caplog: pytest.LogCaptureFixture) -> None:
    """X4: A request with many events is as many events."""
    gate = REFUSE.Gate()
    assert gate.refuses(several(*[BEACON] * 11), 0.0)
    assert not REFUSE.Gate().refuses(several(*[BEACON] * 10), 0.0)


def test_x4_clients_without_a_key_share_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """X4: They choose ids freely, so ids of theirs fill neither the log nor the memory."""
    gate = REFUSE.Gate()
    for number in range(100):
        assert gate.refuses({"enc": "pub", "load": {"cmd": "_return", "id": f"x{number}"}}, 1.0)
    assert caplog.messages == [
        "Refused a request of somebody without a key: its sender is not authenticated"
    ]


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return Salt's worker, whose own method returns what it got."""

    class MWorker:
        async def _handle_payload_inner(self, payload: Any) -> Any:
            return payload, {"fun": "inner"}

    master = ModuleType("salt.master")
    master.MWorker = MWorker  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "salt.master", master)
    return MWorker


def test_x4_every_request_of_a_worker_passes_the_guard(worker: Any) -> None:
    """X4: The rest reaches Salt as it is; Salt's own message about a login, too."""
    assert REFUSE.setup_handlers() is False
    answer = worker()._handle_payload_inner
    for good in (start(), {"cmd": "_auth", "_start": 1.0}):
        assert asyncio.run(answer(good)) == (good, {"fun": "inner"})
    assert asyncio.run(answer(request("_syndic_return"))) == (False, {"fun": "send"})
    forged = {"enc": "pub", "load": {"cmd": "_return", "id": "s1"}}
    assert asyncio.run(answer(forged)) == (False, {"fun": "send_clear"})


def test_x4_a_master_without_the_guard_does_not_start(worker: Any) -> None:
    """X4: A Salt without this method ends with an error, which Salt does not catch."""
    del worker._handle_payload_inner
    with pytest.raises(AttributeError):
        REFUSE.setup_handlers()


def test_x4_only_the_daemon_loads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """X4: `salt` and `salt-run` do not pay for it."""
    monkeypatch.delitem(sys.modules, "salt.cli.daemons", raising=False)
    assert REFUSE.__virtual__() is False
    monkeypatch.setitem(sys.modules, "salt.cli.daemons", ModuleType("salt.cli.daemons"))
    assert REFUSE.__virtual__() is True
    assert REFUSE.log.getEffectiveLevel() <= logging.WARNING
