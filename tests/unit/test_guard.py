"""Before a change, the master asks itself whether it refuses forged requests (X4)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import salt.payload
import zmq
from salt.exceptions import CommandExecutionError

from salina_fleet import guard
from salina_fleet.change import exclusive
from salina_fleet.site import Site
from tests import fleets
from tests.loading import load, never

Answering = Callable[[Any], dict[str, Any]]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Start a master that gives one answer; return its options."""
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        threads = []

        def start(answer: Any) -> dict[str, Any]:
            def once() -> None:
                asked = salt.payload.loads(socket.recv())
                assert asked["enc"] != "aes" and not asked["load"], "it must ask for nothing"
                socket.send(salt.payload.dumps(answer))

            threads.append(threading.Thread(target=once))
            threads[-1].start()
            return {"interface": "127.0.0.1", "ret_port": port}

        yield start
        for thread in threads:
            thread.join()


def test_x4_a_master_that_refuses_is_good(answering: Answering) -> None:
    """X4: The guard answers False."""
    guard.ensure(answering(False))


@pytest.mark.parametrize("answer", ["Some exception handling minion payload", {}, b"...", None, 0])
def test_x4_any_other_answer_is_salts_own(answering: Answering, answer: Any) -> None:
    """X4, K5: Then the error names the file that is missing."""
    with pytest.raises(CommandExecutionError, match=r"accept forged returns.*20-security\.conf"):
        guard.ensure(answering(answer))


def test_x4_a_silent_master_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """X4, K5: Nothing is believed then."""
    monkeypatch.setattr(guard, "ANSWER_SECONDS", 0)
    with pytest.raises(CommandExecutionError, match="does not answer its own request"):
        guard.ensure({"interface": "127.0.0.1", "ret_port": 9})


@pytest.mark.parametrize(
    ("function", "arguments"),
    [("begin", {"pool": "app", "count": 4}), ("destroy", {"hosts": ["s9"]})],
)
def test_x4_a_master_that_accepts_forged_returns_changes_nothing(
    answering: Answering,
    function: str,
    arguments: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """X4: It begins no change, asks no host, and destroys none that an earlier change drained."""
    definitions = {"odoo-14.0": fleets.definition("odoo-14.0")}
    site = Site(tmp_path, tmp_path, fleets.fleet(), definitions, fleets.LOCKS, fleets.TREE)
    change = load("_runners/change.py", opts=answering({}))
    monkeypatch.setattr("salina_fleet.runner.site", lambda _: site)
    monkeypatch.setattr(exclusive, "take", lambda *_: None)
    monkeypatch.setattr("salina_fleet.minions.silent", never)
    monkeypatch.setattr("salina_fleet.provision.provisioner.destroy", never)
    with pytest.raises(CommandExecutionError, match="would accept forged returns"):
        getattr(change, function)(**arguments)
    assert not [*site.state.glob("*.json")]
