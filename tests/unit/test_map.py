"""The map: every host and every arrow of the policy is drawn, for every topology (S15)."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from salina_fleet.fleet import Fleet
from salina_fleet.map import mermaid, svg
from tests import fleets

NAMES = ["default", *fleets.OTHERS]


@pytest.mark.parametrize("name", NAMES)
def test_svg(name: str) -> None:
    """S15: The picture is well formed and shows each host, each network and the service."""
    fleet = fleets.fleet(name)
    root = ElementTree.fromstring(svg.draw(fleet))
    texts = " | ".join(
        element.text or "" for element in root.iter() if element.tag.endswith("text")
    )
    for host in fleet.hosts:
        assert host in texts
    for network in fleet.topology.networks.values():
        assert f"{network.name} · {network.cidr}" in texts
    for application in fleet.topology.applications.values():
        assert application.domain in texts


@pytest.mark.parametrize("name", NAMES)
def test_svg_stays_inside(name: str) -> None:
    """Nothing lies outside the picture."""
    root = ElementTree.fromstring(svg.draw(fleets.fleet(name)))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for element in root.iter():
        if element.tag.endswith("rect") and "x" in element.attrib:
            x, y, w, h = (float(element.attrib[key]) for key in ("x", "y", "width", "height"))
            assert x >= 0 and y >= 0 and x + w <= width and y + h <= height


def test_large_fleet_is_one_group() -> None:
    """A large pool is drawn as its first and its last hosts."""
    topology = fleets.topology("five-apps")
    members = {"web": [f"web-{n}-blue" for n in range(1, 101)]}
    fleet = Fleet(topology, members, fleets.settings())
    picture = svg.draw(fleet)
    assert "web-100-blue" in picture and "web-50-blue" not in picture
    assert "… 96 more" in picture


def test_mermaid() -> None:
    """The arrows of the default fleet, as text for Markdown."""
    text = mermaid.draw(fleets.fleet())
    assert text.startswith("flowchart LR\n")
    for arrow in (
        'clients -->|"80, 443, 22"| firewall',
        'firewall -->|"80, 443"| balancer',
        'balancer -->|"443, 80, 8079"| app',
        'app -->|"24007, 49152-49251"| storage_quorum',
        'app -->|"5432, 8008"| database',
        'database -->|"2379"| storage_quorum',
    ):
        assert f"  {arrow}\n" in text


def test_two_applications_are_two_groups() -> None:
    """Issue 5: each with its own hosts, and an arrow of its own from the balancer."""
    text = mermaid.draw(fleets.fleet("two-applications"))
    assert 'subgraph app_shop["app: shop"]' in text
    for application in ("crm", "shop"):
        assert f'  balancer -->|"443, 80, 8079"| app_{application}\n' in text


def test_picture_of_the_readme() -> None:
    """docs/map.svg is the picture of the repository's own topology (`make map`)."""
    drawn = (fleets.REPOSITORY / "docs" / "map.svg").read_text(encoding="utf-8")
    assert drawn == svg.draw(fleets.fleet()), "the picture is old: make map"
