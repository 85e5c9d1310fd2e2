"""The generator of inputs: it knows every rule, and most of its topologies are good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salina_fleet.model import definition, topology
from salina_fleet.model.settings import COMPONENTS, Settings
from salina_fleet.schema.declare import record
from salina_fleet.schema.faults import Faults
from salina_fleet.schema.rules import Reading, Record
from tests.generated import judges, shapes, values

RECORDS = {name: record(kind) for name, kind in COMPONENTS.items()} | {"app": definition.RULE}
NAMES = {"networks": ("edge",), "hosts": ("s1",)}


@pytest.mark.parametrize("name", RECORDS)
def test_every_rule_has_values(name: str) -> None:
    """A rule with a function of its own needs examples in tests/generated/values.py."""
    for key in RECORDS[name].keys.values():
        if key.name:
            assert isinstance(values.of(key.rule, NAMES), st.SearchStrategy)


@settings(max_examples=60, derandomize=True, database=None)
@given(st.data())
def test_most_values_are_valid(data: st.DataObject) -> None:
    """A value alone is valid unless its rule has a function of its own."""
    name = data.draw(st.sampled_from(sorted(RECORDS)))
    rule: Record = RECORDS[name]
    found: dict[str, Any] = data.draw(values.changed(rule, {}, NAMES, 3))
    assert {*found} <= {key.name for key in rule.keys.values()}
    faults = Faults()
    for key in rule.keys.values():
        if key.name in found and isinstance(key.rule, values.SURE):
            key.rule.read(found[key.name], None, Reading({}, faults))
    assert not faults.lines


@pytest.mark.further
def test_most_topologies_are_good_and_of_every_shape() -> None:
    """K5: Otherwise the tests would try less than they say: pairs, ids with domains, numbers with
    zeros before them, pools without members.
    """
    good: list[bool] = []
    known: set[str] = set()
    seen: set[str] = set()

    @settings(max_examples=100, derandomize=True, database=None)
    @given(shapes.topologies())
    def tried(data: dict[str, Any]) -> None:
        try:
            found = topology.parse(data, "generated", Settings())
        except topology.TopologyError:
            good.append(False)
            return
        good.append(True)
        pools = found.pools.values()
        shown = {
            "two balancers": len(found.having("balancer")) == 2,
            "two firewalls": len(found.having("firewall")) == 2,
            "a domain": any("." in host.id for host in found.hosts),
            "a domain in a pool": any("." in pool.id_pattern for pool in pools),
            "zeros": any(":" in pool.id_pattern for pool in pools),
            "minimum 0": any(pool.minimum == 0 for pool in pools),
            "no members": any(not pool.initial for pool in pools),
            "one host with many roles": any(len(host.roles) > 4 for host in found.hosts),
            "IPv6": any(":" in network.cidr for network in found.networks.values()),
            "no storage": not found.having("storage"),
        }
        known.update(shown)
        seen.update(name for name, there in shown.items() if there)

    tried()
    assert sum(good) > len(good) * 2 // 3
    assert seen == known


def test_a_path_of_a_host_leads_into_the_directory() -> None:
    """And other words of a configuration stay."""
    host = judges.Host.__new__(judges.Host)
    host.root = Path("/place")
    assert host.moved("a /etc/x, unix:/run/y") == "a /place/etc/x, unix:/place/run/y"
    assert host.moved("location /web/etc/ {") == "location /web/etc/ {"


def test_ufw_sees_each_kind_of_a_rule_once() -> None:
    """Only addresses, interfaces, letters and digits differ between rules of the same kind."""
    words = "allow in on card{} from {} to any port {} proto tcp comment"
    one = [*words.format(0, "10.0.0.1", 22).split(), "a1: SSH"]
    same = [*words.format(3, "10.9.0.7", 22).split(), "zz: HTTP"]
    assert judges.shape(one) == judges.shape(same)
    for other in (
        [*words.format(0, "10.0.0.0/24", 22).split(), "a: b"],
        [*words.format(0, "fd00::1", 22).split(), "a: b"],
        [*words.format(0, "10.0.0.1", 23).split(), "a: b"],
        [*words.format(0, "10.0.0.1", 22).split(), "a: 'b"],
    ):
        assert judges.shape(one) != judges.shape(other)
