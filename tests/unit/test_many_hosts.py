"""Large topologies, good or bad: their cost grows with the hosts, and their messages do not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from salina_fleet.model import members, topology
from salina_fleet.model.rules import MOST_HOSTS
from salina_fleet.model.topology import TopologyError
from salina_fleet.schema.document import SHOWN
from tests import fleets

SECONDS = 3
"""The most CPU time for 10,000 hosts; the tests below allow twice as much, for slow machines."""
SLACK = 2
HEAD = """
service: {address: 10.1.2.2}
applications: {crm: {domain: crm.example, definition: odoo-14.0}}
networks:
  clients: 10.1.1.0/24
  edge: 10.1.2.0/24
  web: 10.3.0.0/16
  data: 10.4.0.0/16
  management: 10.5.0.0/16
links: {clients: clients, edge: edge, web: web, data: data, management: management}
hosts:
  salt: {roles: [master], addresses: {management: 10.5.255.2}}
  fw: {roles: [firewall], addresses: {clients: 10.1.1.1, edge: 10.1.2.1, management: 10.5.255.1}}
  lb1: {roles: [balancer], addresses: {edge: 10.1.2.2, web: 10.3.255.1, management: 10.5.255.3}}
  nas1: {roles: [storage, quorum], addresses: {data: 10.4.255.21, management: 10.5.255.21}}
  bbdd1: {roles: [database], first: true, addresses: {data: 10.4.255.31, management: 10.5.255.31}}
"""
OWN = "addresses: {{web: 10.3.{a}, data: 10.4.{a}, management: 10.5.{a}}}"
LONG = """  application-host-of-the-first-site-{n:05}:
    roles:
      - app
    application: crm
    addresses:
      web: 10.3.{a}
      data: 10.4.{a}
      management: 10.5.{a}  # each with a comment
"""
GOOD = {"short": f"  a{{n}}: {{{{roles: [app], {OWN}}}}}\n", "long": LONG}
BAD = {
    "a key misspelt": f"  a{{n}}: {{{{roles: [app], x{OWN}}}}}\n",
    "an unknown role": f"  a{{n}}: {{{{roles: [appp], {OWN}}}}}\n",
    "several faults": "  a{n}: {{roles: [app, app, nope], addresses: [], first: 3, pool: 2}}\n",
    "an unknown network": "  a{n}: {{roles: [app], addresses: {{wep: 10.3.{a}}}}}\n",
    "no address": "  a{n}: {{roles: [app], addresses: {{management: 10.5.{a}}}}}\n",
    "one address for all": "  a{n}: {{roles: [app], addresses: {{web: 10.3.0.1}}}}\n",
    "an address outside": f"  a{{n}}: {{{{roles: [app], {OWN}}}}}\n".replace("10.3.", "10.9."),
    "a bad id": f"  A_{{n}}: {{{{roles: [app], {OWN}}}}}\n",
    "the role of one": f"  a{{n}}: {{{{roles: [balancer], {OWN}}}}}\n",
    "the first of all": f"  a{{n}}: {{{{roles: [database], first: true, {OWN}}}}}\n",
    "no storage": f"  a{{n}}: {{{{roles: [app], first: true, {OWN}}}}}\n",
    "an unknown application": f"  a{{n}}: {{{{roles: [app], application: no, {OWN}}}}}\n",
    "one id for all": f"  a1: {{{{roles: [app], {OWN}}}}}\n",
    "a number for an id": f"  {{n}}: {{{{roles: [app], {OWN}}}}}\n",
    "a list": "  a{n}: [1]\n",
    "a tag": f"  a{{n}}: !x {{{{roles: [app], {OWN}}}}}\n",
    "an anchor": f"  a{{n}}: &a{{n}} {{{{roles: [app], {OWN}}}}}\n",
    "no YAML at the end": GOOD["short"],
}
TAIL = {"no YAML at the end": "  }\n"}
"""The lines that follow the hosts."""


def text(count: int, form: str, tail: str = "") -> str:
    """Return a topology with this many hosts of a form."""
    numbers = ((n, f"{n // 250}.{n % 250 + 1}") for n in range(count))
    return HEAD + "".join(form.format(n=n, a=a) for n, a in numbers) + tail


def bad(count: int, kind: str) -> tuple[float, TopologyError]:
    """Return how long a bad topology takes with its message, and its faults."""
    content = text(count, BAD[kind], TAIL.get(kind, ""))
    start = time.process_time()
    with pytest.raises(TopologyError) as caught:
        topology.loads(content)
    assert str(caught.value)
    return time.process_time() - start, caught.value


@pytest.mark.parametrize("kind", BAD)
def test_k5_a_message_lists_fifty_faults_and_counts_the_rest(kind: str) -> None:
    """K5: An operator reads the first ones; a screen and a log hold them."""
    _, error = bad(200, kind)
    lines = str(error).splitlines()
    assert len(lines) <= 1 + SHOWN + 1
    assert max(map(len, lines)) < 400
    if len(error.faults) > SHOWN:
        assert lines[0] == f"topology: {len(error.faults)} faults"
        assert lines[-1] == f"  and {len(error.faults) - SHOWN} more faults"


def test_k5_a_fault_that_names_many() -> None:
    """K5: Neither the choices nor the hosts fill pages."""
    data = fleets.data()
    data["networks"] |= {f"n{number}": f"10.2.{number}.0/24" for number in range(200)}
    data["links"]["web"] = "wob"
    with pytest.raises(TopologyError) as caught:
        topology.parse(data)
    names = [*data["networks"]]
    listed = f"choose one of: {', '.join(names[:40])} and 165 more"
    assert f'links.web: "wob" is not a network; {listed}' in caught.value.faults
    _, error = bad(200, "the role of one")
    hosts = ", ".join(["lb1", *(f"a{number}" for number in range(19))])
    assert (
        f"hosts: 201 hosts ({hosts}, and 181 more) have role balancer; one host or two hosts must "
        "have it"
    ) in error.faults


def test_k5_more_members_than_a_fleet_can_have() -> None:
    """K5: The master judges each of them, so there is a bound for all pools together."""
    data = fleets.data()
    pool = data["pools"]["app"]
    data["pools"] = {
        f"p{number}": pool
        | {"id": f"p{number}x{{n}}", "maximum": 4096, "initial": [f"p{number}x1"]}
        for number in range(13)
    }
    with pytest.raises(TopologyError) as caught:
        topology.parse(data)
    room = MOST_HOSTS - len(data["hosts"]) - 12 * 4096
    assert caught.value.faults[0] == (
        f"pools.p12.maximum: 4096 is not valid; must be at most {room}, because a fleet can have "
        f"{MOST_HOSTS} hosts"
    )


def test_networks_inside_networks() -> None:
    """Each is told beside the smallest one around it, wherever both are in the file."""
    data = fleets.data()
    data["networks"] |= {"small": "10.7.1.0/28", "large": "10.7.0.0/16", "middle": "10.7.1.0/24"}
    with pytest.raises(TopologyError) as caught:
        topology.parse(data)
    assert caught.value.faults == (
        "networks.middle: 10.7.1.0/24 overlaps 10.7.1.0/28 (small); choose another range",
        "networks.middle: 10.7.1.0/24 overlaps 10.7.0.0/16 (large); choose another range",
    )


@pytest.mark.parametrize("kind", ["a key misspelt", "the first of all"])
def test_k5_the_cost_grows_with_the_hosts(kind: str) -> None:
    """K5: Ten times the hosts take ten times as long, and not a hundred times."""
    small, large = (min(bad(count, kind)[0] for _ in range(3)) for count in (200, 2000))
    assert large < 30 * small


def test_many_members_are_judged_quickly(tmp_path: Path) -> None:
    """A file of members that somebody filled by mistake holds nobody up."""
    found = topology.parse(fleets.data())
    (tmp_path / "members.json").write_text('{"app": [' + '"s1",' * 100_000 + '"s2"]}')
    start = time.process_time()
    with pytest.raises(members.MembersError):
        members.load(tmp_path / "members.json", found)
    assert time.process_time() - start < SECONDS * SLACK


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.proof
@pytest.mark.parametrize("form", GOOD)
def test_k5_ten_thousand_good_hosts(form: str) -> None:
    """K5: Also in the long form, which has 2 MB."""
    content = text(10_000, GOOD[form])
    assert seconds(lambda: topology.loads(content)) < SECONDS * SLACK


@pytest.mark.proof
@pytest.mark.parametrize("kind", BAD)
def test_k5_ten_thousand_bad_hosts(kind: str) -> None:
    """K5: Whatever is wrong with each of them, the message comes within seconds."""
    assert bad(10_000, kind)[0] < SECONDS * SLACK
