"""How the lab's tests read a watch over the database hosts."""

from __future__ import annotations

from tests.lab.traffic import SILENCE, overlap, reigns


def samples(*said: tuple[float, bool]) -> list[dict[str, object]]:
    return [{"at": at, "writable": writable} for at, writable in said]


def test_a_reign_lasts_from_its_first_to_its_last_sample() -> None:
    said = samples((1, True), (2, True), (3, False), (4, True), (5, False))
    assert reigns(said, "writable") == [(1, 2), (4, 4)]


def test_a_frozen_host_does_not_reign_while_it_says_nothing() -> None:
    thawed = 2 + SILENCE
    assert reigns(samples((1, True), (2, True), (thawed, True)), "writable") == [
        (1, 2),
        (thawed, thawed),
    ]
    assert reigns(samples((2, True), (thawed - 1, True)), "writable") == [(2, thawed - 1)]


def test_two_reigns_overlap_for_as_long_as_both_last() -> None:
    assert overlap([(1, 4), (8, 9)], [(3, 6), (6, 8.5)]) == 1.5
    assert overlap([(1, 3)], [(3, 6)]) == 0
    assert overlap([], [(3, 6)]) == 0
