"""S12: the share of each app host by its response time; it never ends, never flaps, comes back."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salina.balancer import haproxy, load
from salina.balancer.haproxy import Server
from salina.balancer.load import CHECKS, LEAST, WHOLE

times = st.floats(0, 10_000)
checks = st.lists(times, max_size=CHECKS)
percent = st.integers(LEAST, WHOLE)


def settled(now: dict[str, int], **typical: float) -> dict[str, int]:
    """The weights after as long as it takes, when the hosts' answers take that long."""
    responses = {host: [taken] * CHECKS for host, taken in typical.items()}
    while (then := load.weights(responses, now)) != now:
        now = then
    return now


def test_one_of_three_five_times_as_slow() -> None:
    """S12: It gets one request of 201, so the 99th percentile is that of the other hosts."""
    whole = {"s1": 100, "s2": 100, "s3": 100}
    assert settled(whole, s1=20, s2=25, s3=100) == {"s1": 100, "s2": 100, "s3": 1}


def test_at_once_down_and_in_steps_up() -> None:
    slow, well = {"s1": [20.0] * CHECKS, "s2": [100.0] * CHECKS}, {"s1": [20.0] * CHECKS}
    assert load.weights(slow, {"s1": 100, "s2": 100})["s2"] == 1
    now, seen = {"s1": 100, "s2": 1}, [1]
    while now["s2"] < 100:
        now = load.weights({**well, "s2": [20.0] * CHECKS}, now)
        seen.append(now["s2"])
    assert seen == [1, 2, 4, 8, 16, 32, 64, 100]


def test_between_slow_and_well_nothing_changes() -> None:
    """S12: A host twice as slow keeps its weight, whether that is high or low."""
    for now in (15, 50, 100):
        assert settled({"s1": 100, "s2": now}, s1=20, s2=40) == {"s1": 100, "s2": now}


def test_one_slow_answer_is_nothing() -> None:
    """S12: Even four slow answers of nine change nothing."""
    responses = {"s1": [20.0] * CHECKS, "s2": [20.0] * 5 + [3000.0] * 4}
    assert load.weights(responses, {"s1": 100, "s2": 100})["s2"] == 100


def test_too_little_is_known() -> None:
    """A host that has just come, or come back, keeps its weight and is not a measure for others."""
    responses = {"s1": [20.0] * CHECKS, "s2": [1.0] * 4}
    assert load.weights(responses, {"s1": 100, "s2": 100}) == {"s1": 100}
    assert load.weights({"s1": []}, {"s1": 100}) == {}


def test_what_nobody_notices_is_alike() -> None:
    assert settled({"s1": 100, "s2": 100}, s1=0, s2=9) == {"s1": 100, "s2": 100}


@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(checks, percent)))
def test_never_nothing_never_more_than_all(hosts: dict[str, tuple[list[float], int]]) -> None:
    """The fastest is never given less than it has, and nobody leaves 1 to 100 percent."""
    found = load.weights(
        {host: taken for host, (taken, _) in hosts.items()},
        {host: now for host, (_, now) in hosts.items()},
    )
    assert set(found) == {host for host, (taken, _) in hosts.items() if len(taken) > CHECKS // 2}
    assert all(LEAST <= one <= WHOLE for one in found.values())
    if found:
        fastest = min(found, key=lambda host: median(hosts[host][0]))
        assert found[fastest] >= hosts[fastest][1]


@given(st.lists(times, min_size=2, max_size=5), percent)
def test_each_comes_to_rest(typical: list[float], start: int) -> None:
    """S12: With constant times the weights become constant, and slower hosts get less."""
    names = [f"s{number}" for number, _ in enumerate(typical)]
    found = settled(dict.fromkeys(names, start), **dict(zip(names, typical, strict=True)))
    ordered = [found[name] for _, name in sorted(zip(typical, names, strict=True))]
    assert ordered == sorted(ordered, reverse=True) and ordered[0] == WHOLE


@given(st.lists(st.lists(st.floats(20, 50), min_size=3, max_size=3), min_size=20, max_size=60))
def test_noise_moves_nothing(rounds: list[list[float]]) -> None:
    """S12: A host that is less than 2.5 times as slow keeps its full share."""
    held: dict[str, deque[float]] = {name: deque(maxlen=CHECKS) for name in ("s1", "s2", "s3")}
    now = dict.fromkeys(held, 100)
    for taken in rounds:
        for name, one in zip(held, taken, strict=True):
            held[name].append(one)
        now |= load.weights(held, now)
        assert set(now.values()) == {100}


@pytest.mark.parametrize("slowness", [1, 1.4, 2.5])
@pytest.mark.parametrize("full", [5, 8, 20, 50, 80, 110, 150])
def test_a_host_slow_only_under_requests_finds_its_share(full: float, slowness: float) -> None:
    """Its answers wait in a queue that its share of the requests makes: a weight that is kept.

    At a weight of `full` the host would have all that it can do.
    """
    responses: dict[str, list[float]] = {"s1": [], "s2": []}
    now, changes = {"s1": 100, "s2": 100}, []
    for number in range(400):
        busy = min(0.97, now["s2"] / full)
        responses["s1"].append(20.0)
        responses["s2"].append(20.0 * slowness / (1 - busy))
        then = now | load.weights(responses, now)
        if then != now:
            now, responses = then, {"s1": [], "s2": []}
            changes.append(number)
    assert len(changes) < 12 and changes[-1:] < [100]
    assert now["s2"] >= (min(100, full / 4) if slowness == 1 else 1)


def server(name: str, weight: int, response: int | None, application: str = "crm") -> Server:
    """Return a server as HAProxy reports it."""
    state = (True, False, False)
    return Server(application, name, "10.1.3.11", 80, *state, weight, 0, 0, "L7OK", response)


def test_the_daemon(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """S12: The daemon sends changed weights to HAProxy, and none for a host that is down."""
    rounds = [[server("s1", 100, 20), server("s2", 100, 100), server("s3", 100, None)]] * 5
    follow(monkeypatch, rounds, {"s2": 1})
    assert capsys.readouterr().err == f"{haproxy.SOCKET}: gone\n"


def test_the_daemon_compares_the_hosts_of_one_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 5: another application may be slower by its nature; it changes nobody's share."""
    shop = [server("w1", 100, 400, "shop"), server("w2", 100, 2000, "shop")]
    rounds = [[server("s1", 100, 20), server("s2", 100, 21), *shop]] * 5
    follow(monkeypatch, rounds, {"w2": 1})


def follow(
    monkeypatch: pytest.MonkeyPatch, rounds: list[list[Server]], wanted: dict[str, int]
) -> None:
    """Run the daemon for some rounds and one more, in which what it told HAProxy is so."""
    rounds = list(rounds)
    rounds.append([replace(one, weight=wanted.get(one.name, 100)) for one in rounds[0]])
    given: dict[str, int] = {}

    def servers() -> list[Server]:
        if not rounds:
            raise ConnectionRefusedError("gone")
        return rounds.pop(0)

    monkeypatch.setattr(load, "servers", servers)
    monkeypatch.setattr(load, "give", lambda one, part: given.update({one.name: part}))
    monkeypatch.setattr(load.time, "sleep", lambda seconds: None)
    assert load.main(["2.0"]) == 1
    assert given == wanted


def test_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, int] = {}
    found = [server("s1", 100, 20), server("s2", 1, None)]
    monkeypatch.setattr(load, "servers", lambda: found)
    monkeypatch.setattr(load, "give", lambda one, part: given.update({one.name: part}))
    assert load.main(["restore"]) == 0
    assert given == {"s1": 100, "s2": 100}
