"""The fleet as a drawing: hosts in their networks, and an arrow for each row of the policy.

Pure: a fleet goes in, Mermaid's text or an SVG picture comes out. Hosts with the same roles are
drawn as one group, so that the picture of a large fleet has no more arrows than that of a small
one. Hosts of two applications are two groups.

CLI: python -m salina_fleet.map     prints the picture of the repository's own topology (make map)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from salina_fleet.fleet import Fleet
from salina_fleet.model.topology import Host
from salina_fleet.role import ANY, NETWORK, Row
from salina_fleet.roles import ROLES

CLIENTS = "clients"
BETWEEN = ("clients", "edge", "web", "data")
"""The link between a column and the next."""


@dataclass(frozen=True)
class Group:
    """Hosts with the same roles; `application`: theirs, where the fleet has several."""

    roles: tuple[str, ...]
    hosts: tuple[Host, ...]
    application: str | None = None

    @property
    def column(self) -> int:
        """Where it stands, from the clients (0) inwards."""
        columns = [ROLES[role].column for role in self.roles]
        return min((column for column in columns if column), default=0)

    @property
    def forwards(self) -> bool:
        """Whether the clients' packets pass through its hosts."""
        return any(ROLES[role].forwards for role in self.roles)

    @property
    def id(self) -> str:
        """A name for the drawing's own use."""
        return "_".join([*self.roles, *([self.application] if self.application else [])])


@dataclass(frozen=True)
class Arrow:
    """One group talks to another, or its hosts to each other; None stands for the clients."""

    source: Group | None
    target: Group
    ports: str


def groups(fleet: Fleet) -> list[Group]:
    """The hosts by their roles, from the clients inwards, the master last."""
    several = len(fleet.topology.applications) > 1
    found: dict[tuple[tuple[str, ...], str | None], list[Host]] = {}
    for host in fleet.hosts.values():
        found.setdefault((host.roles, host.application if several else None), []).append(host)
    listed = [Group(roles, tuple(hosts), name) for (roles, name), hosts in found.items()]
    return sorted(listed, key=lambda group: group.column or sys.maxsize)


def arrows(fleet: Fleet) -> list[Arrow]:
    """The policy's rows between groups; rows from one group to another are one arrow."""
    found: dict[tuple[str, str], list[str]] = {}
    known = {group.id: group for group in groups(fleet)}
    for row in fleet.rows:
        for source, target in _ends(fleet, row, list(known.values())):
            ports = found.setdefault((source, target), [])
            ports += [part for part in row.ports.split(",") if part not in ports]
    return [
        Arrow(known.get(source), known[target], ", ".join(ports).replace(":", "-"))
        for (source, target), ports in found.items()
    ]


def _ends(fleet: Fleet, row: Row, known: list[Group]) -> Iterator[tuple[str, str]]:
    if row.source == NETWORK:
        return  # Salt and SSH lead everywhere: the management network itself stands for them
    for target in known:
        if row.target not in target.roles:
            continue
        if row.source == ANY:
            walls = [group for group in known if group.forwards and group is not target]
            stops = [CLIENTS, *(group.id for group in walls), target.id]
            yield from pairwise(stops)
            continue
        for source in known:
            if row.source in source.roles and (source is not target or len(source.hosts) > 1):
                yield source.id, target.id


# Mermaid


def mermaid(fleet: Fleet) -> str:
    """The drawing as Mermaid's text, for Markdown."""
    lines = ["flowchart LR", f"  {CLIENTS}(({CLIENTS}))"]
    for group in groups(fleet):
        lines.append(f'  subgraph {group.id}["{_text(group)}"]')
        for host in group.hosts:
            addresses = "<br/>".join(host.addresses.values())
            lines.append(f'    {_node(host)}["<b>{host.id}</b><br/>{addresses}"]')
        lines.append("  end")
    for arrow in arrows(fleet):
        source = arrow.source.id if arrow.source else CLIENTS
        lines.append(f'  {source} -->|"{arrow.ports}"| {arrow.target.id}')
    return "\n".join(lines) + "\n"


def _text(group: Group) -> str:
    return " + ".join(group.roles) + (f": {group.application}" if group.application else "")


def _node(host: Host) -> str:
    return "host_" + host.id.replace("-", "_")


# SVG

WIDTH, GAP, MARGIN, TOP = 248, 144, 28, 112
ROW, HEAD, FOOT, SPACE, PAD = 34, 36, 22, 40, 10
STRIP, BAND = 26, 34
SHOWN = 6
"""Hosts of a group drawn one by one; of a larger group the first and the last."""
INK, SOFT, PAPER, FRAME, LINE = "#1f2933", "#5b6875", "#ffffff", "#c5ced7", "#66788a"
TINTS = {
    "clients": ("#fdecc8", "#8a5a00"),
    "edge": ("#fbd9d3", "#9a2f1c"),
    "web": ("#d3ecd9", "#1d6b38"),
    "data": ("#d6e4fa", "#1f4f99"),
    "management": ("#e6e1f3", "#57448c"),
}
HEADS = {1: "#b5472f", 2: "#c07a10", 3: "#2b7a4b", 4: "#2d5fa8", 0: "#6552a0"}


@dataclass(frozen=True)
class Box:
    """A place in the picture."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The height at which arrows leave and arrive."""
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        """The right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height


def svg(fleet: Fleet) -> str:
    """The drawing as a picture: clients at the left, each tier a column, networks between them."""
    known = groups(fleet)
    places, width, low = _places(known)
    band = Box(MARGIN, low + 30, width - 2 * MARGIN, BAND)
    masters = [group for group in known if group.column == 0]
    height = band.bottom + MARGIN + (30 + max(_height(g) for g in masters) if masters else 0)
    for number, group in enumerate(masters):
        x = MARGIN + number * (WIDTH + PAD)
        places[group.id] = Box(x, band.bottom + 30, WIDTH, _height(group))
    parts = [_head(width, height), _title(fleet)]
    parts += _risers(known, places, band)
    parts += _strips(fleet, known, places, low)
    parts.append(_band(fleet, band))
    drawn = arrows(fleet)
    parts += [_arrow(arrow, places) for arrow in drawn if arrow.source is not arrow.target]
    parts.append(_clients(fleet, places[CLIENTS]))
    inner = {arrow.target.id: arrow.ports for arrow in drawn if arrow.source is arrow.target}
    management = fleet.topology.links["management"]
    parts += [_panel(group, places[group.id], management, inner.get(group.id)) for group in known]
    parts += [_label(arrow, places) for arrow in drawn if arrow.source is not arrow.target]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _height(group: Group) -> int:
    return HEAD + min(len(group.hosts), SHOWN) * ROW + (FOOT if len(group.hosts) > 1 else 4)


def _places(known: list[Group]) -> tuple[dict[str, Box], float, float]:
    """Where the clients and each group stand; the picture's width; the lowest edge of a column."""
    columns: dict[int, list[Group]] = {}
    for group in known:
        if group.column:
            columns.setdefault(group.column, []).append(group)
    tall = max(
        (sum(_height(g) for g in col) + SPACE * (len(col) - 1) for col in columns.values()),
        default=0,
    )
    tall = max(tall, 120)
    places = {CLIENTS: Box(MARGIN, TOP + (tall - 96) / 2, 120, 96)}
    x: float = MARGIN + 120 + GAP
    for number in sorted(columns):
        column = columns[number]
        used = sum(_height(group) for group in column) + SPACE * (len(column) - 1)
        y = TOP + (tall - used) / 2
        for group in column:
            places[group.id] = Box(x, y, WIDTH, _height(group))
            y += _height(group) + SPACE
        x += WIDTH + GAP
    return places, x - GAP + MARGIN, TOP + tall


def _strips(fleet: Fleet, known: list[Group], places: dict[str, Box], low: float) -> Iterator[str]:
    """The networks that lie between the columns, as upright strips."""
    columns = {0: places[CLIENTS].right}
    columns.update({g.column: places[g.id].right for g in known if g.column})
    numbers = sorted(columns)
    for here, following in pairwise(numbers):
        links = {fleet.topology.links[link]: link for link in reversed(BETWEEN[here:following])}
        step = GAP / (len(links) + 1)
        for place, (name, link) in enumerate(reversed(links.items()), start=1):
            box = Box(columns[here] + place * step - STRIP / 2, TOP, STRIP, low - TOP)
            cidr = fleet.topology.networks[name].cidr
            yield _network(box, link, f"{name} · {cidr}", above=True)


def _network(box: Box, link: str, text: str, above: bool) -> str:
    """A network as a strip in its colour, its name on it or above it."""
    fill, ink = TINTS[link]
    x, y = box.x + box.width / 2, box.y - 14 if above else box.middle
    return (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="8" '
        f'fill="{fill}"/><text x="{x:g}" y="{y:g}" dy=".35em" text-anchor="middle" '
        f'class="net" style="fill:{ink}">{escape(text)}</text>'
    )


def _band(fleet: Fleet, box: Box) -> str:
    name = fleet.topology.links["management"]
    cidr = fleet.topology.networks[name].cidr
    alone = name not in [fleet.topology.links[link] for link in BETWEEN]
    text = f"{name} · {cidr} · Salt and SSH" + (", nothing else" if alone else "")
    return _network(box, "management", text, above=False)


def _risers(known: list[Group], places: dict[str, Box], band: Box) -> Iterator[str]:
    """Thin lines from each column down (from the master up) to the management network."""
    for group in known:
        box = places[group.id]
        x = box.x + 16
        start, end = (box.middle, band.y) if group.column else (band.bottom, box.middle)
        yield (
            f'<line x1="{x:g}" y1="{start:g}" x2="{x:g}" y2="{end:g}" stroke="#b3a8d4" '
            f'stroke-width="1.5" stroke-dasharray="3 4"/>'
        )


def _clients(fleet: Fleet, box: Box) -> str:
    service = fleet.topology.service
    scheme = "HTTPS" if service.tls else "HTTP"
    x = box.x + box.width / 2
    return (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="48" '
        f'fill="{PAPER}" stroke="{FRAME}" stroke-width="1.5"/>'
        f'<text x="{x:g}" y="{box.middle - 4:g}" text-anchor="middle" class="id">clients</text>'
        f'<text x="{x:g}" y="{box.middle + 15:g}" text-anchor="middle" class="soft">'
        f"over {scheme}</text>"
    )


def _panel(group: Group, box: Box, management: str, inner: str | None) -> str:
    tint = HEADS[group.column]
    parts = [
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="10" '
        f'fill="{PAPER}" stroke="{FRAME}" stroke-width="1.5"/>',
        f'<path d="M{box.x:g} {box.y + HEAD - 8:g}v-18a10 10 0 0 1 10-10h{box.width - 20:g}'
        f'a10 10 0 0 1 10 10v18z" fill="{tint}"/>',
        f'<text x="{box.x + 12:g}" y="{box.y + 19:g}" class="head">'
        f"{escape(_heading(group))}</text>",
    ]
    y = box.y + HEAD
    for line in _shown(group):
        parts.append(_host(line, management, box.x + PAD, y, box.width - 2 * PAD))
        y += ROW
    if inner:
        parts.append(
            f'<text x="{box.x + 12:g}" y="{box.bottom - 9:g}" class="soft">⇄ {escape(inner)}</text>'
        )
    return "".join(parts)


def _heading(group: Group) -> str:
    text = _text(group)
    return text if len(text) <= 30 else f"{len(group.roles)} roles of {len(ROLES)}"


def _shown(group: Group) -> list[Host | str]:
    if len(group.hosts) <= SHOWN:
        return list(group.hosts)
    hidden = len(group.hosts) - SHOWN + 1
    return [*group.hosts[: SHOWN - 2], f"… {hidden} more", group.hosts[-1]]


def _host(host: Host | str, management: str, x: float, y: float, width: float) -> str:
    if isinstance(host, str):
        return f'<text x="{x + 10:g}" y="{y + 19:g}" class="soft">{escape(host)}</text>'
    addresses = [text for name, text in host.addresses.items() if name != management]
    listed = addresses or list(host.addresses.values())
    shown = " · ".join(listed)
    if 9 * len(host.id) + 6 * len(shown) > width - 24:
        shown = listed[-1]  # no room for more than one
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{ROW - 6}" rx="6" fill="#f3f6f9"/>'
        f'<text x="{x + 8:g}" y="{y + 19:g}" class="id">{escape(host.id)}</text>'
        f'<text x="{x + width - 8:g}" y="{y + 18:g}" text-anchor="end" class="soft">'
        f"{escape(shown)}</text>"
    )


def _ends_of(arrow: Arrow, places: dict[str, Box]) -> tuple[float, float, float, float, bool]:
    """Where an arrow begins and ends, and whether it runs within one column."""
    source = places[arrow.source.id if arrow.source else CLIENTS]
    target = places[arrow.target.id]
    if source.x == target.x:
        down = source.y < target.y
        x = source.x + source.width / 2
        return x, source.bottom if down else source.y, x, target.y if down else target.bottom, True
    right = source.x < target.x
    start, end = (source.right, target.x) if right else (source.x, target.right)
    return start, source.middle, end, target.middle, False


def _arrow(arrow: Arrow, places: dict[str, Box]) -> str:
    x1, y1, x2, y2, within = _ends_of(arrow, places)
    bend = 0 if within else (x2 - x1) * 0.5
    return (
        f'<path d="M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}" '
        f'fill="none" stroke="{LINE}" stroke-width="1.8" marker-end="url(#tip)"/>'
    )


def _label(arrow: Arrow, places: dict[str, Box]) -> str:
    x1, y1, x2, y2, _ = _ends_of(arrow, places)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    width = 6.1 * len(arrow.ports) + 14
    return (
        f'<rect x="{x - width / 2:g}" y="{y - 10:g}" width="{width:g}" height="20" rx="10" '
        f'fill="{PAPER}" stroke="{LINE}" stroke-width="1"/>'
        f'<text x="{x:g}" y="{y:g}" dy=".35em" text-anchor="middle" class="port">'
        f"{escape(arrow.ports)}</text>"
    )


def _title(fleet: Fleet) -> str:
    service, applications = fleet.topology.service, fleet.topology.applications.values()
    domains = ", ".join(one.domain for one in applications)
    published = ", ".join(str(port) for port in service.ports)
    kinds = ", ".join(dict.fromkeys(one.definition for one in applications))
    text = f"{kinds} on {service.address}, ports {published}"
    return (
        f'<text x="{MARGIN}" y="44" class="title">{escape(domains)}</text>'
        f'<text x="{MARGIN}" y="66" class="soft">{escape(text)} · '
        f"{len(fleet.hosts)} {'hosts' if len(fleet.hosts) > 1 else 'host'}</text>"
    )


def _head(width: float, height: float) -> str:
    font = "font-family:system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="Map of the fleet">'
        f"<style>text{{{font};fill:{INK}}}.title{{font-size:22px;font-weight:700}}"
        f".head{{font-size:13px;font-weight:600;fill:#fff}}.id{{font-size:14px;font-weight:600}}"
        f".soft{{font-size:10.5px;fill:{SOFT}}}.port{{font-size:10.5px}}"
        ".net{font-size:11.5px;font-weight:600}</style>"
        f'<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="{LINE}"/></marker>'
        "</defs>"
        f'<rect width="{width:g}" height="{height:g}" rx="14" fill="#fbfcfd" stroke="{FRAME}"/>'
    )


def main() -> None:
    """Print the picture of the repository's own topology (`make map`)."""
    from pathlib import Path

    from salina_fleet.model import settings as salina_settings
    from salina_fleet.model import topology as salina_topology

    root = Path(__file__).resolve().parents[2]
    settings = salina_settings.load(root / "pillar/settings")
    topology = salina_topology.load(root / "pillar/topology.yaml", settings)
    sys.stdout.write(svg(Fleet(topology, topology.initial(), settings)))


if __name__ == "__main__":
    main()
