"""The figures of `make bench`: repetitions, percentiles, h2load's log, the results' form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from bench import __main__ as bench
from bench import pillar, repeat, web
from bench.result import Result, table, write
from lab.errors import LabError
from salina_fleet.model import topology


def test_sides_take_turns_and_change_their_order() -> None:
    order: list[str] = []

    def side(name: str) -> int:
        order.append(name)
        return len(order)

    found = repeat.in_turn({"a": lambda: side("a"), "b": lambda: side("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1, 4, 5], "b": [2, 3, 6]}


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (50.5, 51), (99, 99), (100, 100)]
)
def test_percentile(percent: float, expected: int) -> None:
    assert repeat.percentile(list(range(100, 0, -1)), percent) == expected


def test_percentile_of_one() -> None:
    assert repeat.percentile([7.0], 99) == 7.0


def test_spread() -> None:
    assert repeat.spread([3.0, 1.0, 2.04]) == "2.0 s (1.0 to 3.0)"
    assert repeat.spread([30.0, 10.0], "/s", 0) == "20 /s (10 to 30)"


@pytest.mark.parametrize(
    ("value", "bound", "least", "holds"),
    [
        (1.5, 1.5, False, True),
        (1.51, 1.5, False, False),
        (0.9, 0.9, True, True),
        (0.89, 0.9, True, False),
        (99.0, None, False, True),
    ],
)
def test_holds(value: float, bound: float | None, least: bool, holds: bool) -> None:
    assert Result("x", value, "ratio", bound, least).holds is holds


RESULTS = [
    Result("a", 0.123456, "ratio", 0.9, least=True, detail="1 / 8"),
    Result("b", 20, "s"),
]


def test_results_have_the_form_that_other_tools_read(tmp_path: Path) -> None:
    write(RESULTS, tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text()) == [
        {"name": "a", "value": 0.1235, "unit": "ratio", "bound": 0.9, "holds": False},
        {"name": "b", "value": 20, "unit": "s", "bound": None, "holds": True},
    ]


def test_the_table_shows_value_bound_and_what_is_behind() -> None:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table(RESULTS, "2 cores"))
    title, _headings, first, second = capture.get().splitlines()
    assert title.strip() == "2 cores"
    assert " ".join(first.split()) == "✗ a 0.123 ratio ≥ 0.9 1 / 8"
    assert " ".join(second.split()) == "b 20 s"


def test_the_log_of_h2load() -> None:
    """Three answers from the first one's begin to the last one's end, 0.5 s later."""
    found = web.parse(["1000000\t200\t200000", "1000100\t200\t100000", "1200000\t200\t300000"])
    assert found.taken == (200000, 100000, 300000)
    assert found.rate == pytest.approx(6)


def test_a_wrong_answer_is_no_figure() -> None:
    with pytest.raises(LabError, match=r"2 of 3 answers .* other than 200: \[0, 503\]"):
        web.parse(["1\t503\t5", "2\t200\t5", "3\t0\t5"])
    with pytest.raises(LabError, match="no answer at all"):
        web.parse([])


def test_a_static_file_of_a_page() -> None:
    page = '<link href="/web/content/1-a/x.css"/><img src="/web/static/src/img/favicon.ico"/>'
    found = web.STATIC.search(page)
    assert found and found[1] == "/web/static/src/img/favicon.ico"


@pytest.mark.parametrize("count", [1, pillar.SMALL, pillar.LARGE])
def test_the_large_fleet_is_a_valid_one(count: int) -> None:
    found = topology.parse(pillar.topology(count))
    assert len(found.initial()["app"]) == count
    assert {host.id for host in found.hosts} > set(pillar.MINIONS.values()) - {"s1"}


def test_the_parts_keep_their_order() -> None:
    assert bench.chosen(["web", "pillar"]) == ["pillar", "web"]
    assert bench.COLD not in bench.chosen([])
    with pytest.raises(
        LabError, match=r"unknown part of the benchmark: speed; choose one of: pillar, cold, "
    ):
        bench.chosen(["speed"])
