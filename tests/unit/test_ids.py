"""The ids of hosts, also with their domains, and the rules for those of a pool."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salina_fleet import metrics
from salina_fleet.model import ids
from salina_fleet.model.addresses import MAX_POOL
from salina_fleet.role import EXPORTERS
from salina_fleet.schema.rules import Unfit
from tests import fleets

FLEET = fleets.fleet("domains")


@pytest.mark.parametrize(
    "text",
    ["s1", "1", "nas1.prod.example.com", "xn--bcher-kva.example", "a-b.c-d", "1.2.3.4a", "a" * 63],
)
def test_an_id_is_a_host_name(text: str) -> None:
    """S15: With its domain as well, which Salt takes as the id by default."""
    assert re.fullmatch(ids.ID, text)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "s1.", ".s1", "s1..x", "S1", "-a", "a-", "a-.b", "a.-b", "s1/x", "s_1", "s1\n"),
        *("10.1.4.21", "1.10", "s1.7", "a.255", "a" * 64, f"{'a' * 60}.abc"),
    ],
)
def test_other_text_is_no_id(text: str) -> None:
    """S15: Nor is what looks like an IP address or a number."""
    assert not re.fullmatch(ids.ID, text)


@pytest.mark.parametrize(
    ("rule", "number", "host_id"),
    [
        ("s{n}", 1, "s1"),
        ("s{n}", 4096, "s4096"),
        ("web-{n}-blue", 12, "web-12-blue"),
        ("crm-{n}.prod.example.com", 3, "crm-3.prod.example.com"),
        ("crm-{n:02}", 1, "crm-01"),
        ("crm-{n:02}", 10, "crm-10"),
        ("crm-{n:02}", 100, "crm-100"),
        ("{n:04}.b", 7, "0007.b"),
    ],
)
def test_s10_a_number_gives_an_id_and_the_id_the_number(
    rule: str, number: int, host_id: str
) -> None:
    """S10: Zeros before the number only up to the digits of the rule."""
    assert ids.pattern(rule) == rule
    assert ids.member(rule, number) == host_id
    assert ids.number(rule, host_id) == number


@pytest.mark.parametrize(
    ("rule", "host_id"),
    [
        *(("s{n}", one) for one in ("s0", "s01", "s", "t1", "s1x", "s-1", "s\u0661", "s12345")),
        *(("crm-{n:02}", one) for one in ("crm-1", "crm-00", "crm-001", "crm-0100")),
        ("a{n}a", "a1"),
    ],
)
def test_s10_any_other_id_has_no_number(rule: str, host_id: str) -> None:
    assert ids.number(rule, host_id) is None


@pytest.mark.parametrize(
    "rule",
    [
        *("", "s", "s{n", "s{m}", "{n}{n}", "s{n}/x", "-{n}", "s{n}-", "s.{n}", "S{n}", "s{n}."),
        *("s{n:2}", "s{n:01}", "s{n:05}", "s{n:02d}", "s{n:x}", f"{{n}}{'a' * 60}"),
    ],
)
def test_s10_a_rule_without_an_id_for_each_number_is_refused(rule: str) -> None:
    """S10: The longest number counts, too, and a number alone is the end of an IP address."""
    with pytest.raises(Unfit):
        ids.pattern(rule)


@given(st.from_regex(r"[a-z]{0,3}\{n(:0[2-4])?\}[a-z]{0,3}", fullmatch=True), st.integers(1, 4096))
def test_s10_each_number_has_its_own_id(rule: str, number: int) -> None:
    found = ids.member(ids.pattern(rule), number)
    assert ids.number(rule, found) == number <= MAX_POOL
    assert ids.member(rule, number % MAX_POOL + 1) != found


def test_a_name_without_its_domain() -> None:
    assert ids.short("nas1.prod.example.com") == "nas1" == ids.short("nas1")


def test_s15_a_host_finds_itself_by_both_names() -> None:
    """S15: As Debian's installer writes them; `database` is the primary's name on an app host."""
    lines = {host: fleets.pillar(host, "domains")["hosts"] for host in FLEET.hosts}
    assert lines["nas1.prod.example.com"][0]["names"] == ["nas1.prod.example.com", "nas1"]
    assert lines["database.a.example.com"][0]["names"] == ["database.a.example.com"]
    names = [name for line in lines["crm-01.prod.example.com"] for name in line["names"]]
    assert {"database.b.example.com", "database"} <= {*names} and "nas1" not in names


@pytest.mark.parametrize("name", ["default", *fleets.OTHERS])
def test_s13_every_exporter_is_among_those_whose_names_no_host_has(name: str) -> None:
    """S13: Otherwise a host could show the certificate of another one's exporter."""
    fleet = fleets.fleet(name)
    found = {one.name for host in fleet.hosts.values() for one in metrics.exporters(fleet, host)}
    assert found <= {*EXPORTERS}
    assert not {*metrics.names(fleet)} & {host.id for host in fleet.topology.everyone()}
