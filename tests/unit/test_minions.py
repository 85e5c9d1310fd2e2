"""The master's questions to minions, with a replacement for Salt's client."""

from __future__ import annotations

from typing import Any

import pytest
from salt.exceptions import SaltClientError

from salina_fleet import minions


class Client:
    """Answers one after the other; an exception is raised."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[list[str]] = []
        self.opts: dict[str, Any] = {}
        self.timeouts: list[int] = []

    def cmd(self, hosts: list[str], *_: Any, timeout: int, **__: Any) -> dict[str, Any]:
        self.asked.append(list(hosts))
        assert self.opts["gather_job_timeout"] == timeout
        self.timeouts.append(timeout)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salina.common.wait.time.sleep", lambda _: None)


def silent(monkeypatch: pytest.MonkeyPatch, client: Client, timeout: int) -> list[str]:
    monkeypatch.setattr(minions, "client", lambda *_, **__: client)
    return minions.silent({}, ["s1", "s2"], timeout)


def test_who_has_answered_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client({"s1": False}, {"s2": True}, {"s2": False})  # s2 was about to restart
    assert silent(monkeypatch, client, 60) == []
    assert client.asked == [["s1", "s2"], ["s2"], ["s2"]]


def test_each_time_with_more_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(*[{}] * 5, {"s1": False, "s2": False})
    assert silent(monkeypatch, client, 60) == []
    assert client.timeouts == [1, 2, 4, 8, 8, 8]


def test_a_master_that_is_about_to_start_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(SaltClientError("not there"), {"s1": False, "s2": False})
    assert silent(monkeypatch, client, 60) == []


def test_those_who_do_not_answer_in_time_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """K5: The error names the minions that do not answer in time."""
    assert silent(monkeypatch, Client({"s1": False}), 0) == ["s2"]
    assert silent(monkeypatch, Client(SaltClientError("not there")), 0) == ["s1", "s2"]


JOB = {"fun": "state.apply", "user": "root", "jid": "20261130120000123456", "pid": 4711}


def busy(monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any]) -> dict[str, str]:
    """Ask s1 and s2 again and again, as far as there are answers."""
    given = list(answers)

    class Asked:
        """The client of `minions.busy`, which has no patience of its own."""

        @staticmethod
        def cmd(*_: Any, **__: Any) -> dict[str, Any]:
            return given.pop(0)

    monkeypatch.setattr(minions, "client", lambda *_, **__: Asked)
    return minions.busy({}, ["s1", "s2"], 60 if len(answers) > 1 else 0)


def test_o8_hosts_that_apply_states_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """O8: A host counts as idle when its states have ended."""
    assert busy(monkeypatch, {"s1": [JOB], "s2": []}, {"s1": []}) == {}


def test_k5_who_applies_states_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """K5: The function, the user and the job."""
    words = "state.apply by root as job 20261130120000123456"
    assert busy(monkeypatch, {"s1": [JOB], "s2": []}) == {"s1": words}
    assert busy(monkeypatch, {"s2": "Minion did not return"}) == {"s2": "Minion did not return"}
