"""The fleet as an SVG picture.

The clients stand at the left, each tier is a column, and the networks lie between the columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import pairwise

from salina_fleet.fleet import Fleet
from salina_fleet.map.groups import BETWEEN, CLIENTS, Arrow, Group, arrows, groups
from salina_fleet.map.layout import (
    GAP,
    HEAD,
    MARGIN,
    PAD,
    ROW,
    SHOWN,
    STRIP,
    TOP,
    Box,
    layout,
)
from salina_fleet.model.topology import Host
from salina_fleet.roles import ROLES

INK, SOFT, PAPER, FRAME, LINE = "#1f2933", "#5b6875", "#ffffff", "#c5ced7", "#66788a"
TINTS = {
    "clients": ("#fdecc8", "#8a5a00"),
    "edge": ("#fbd9d3", "#9a2f1c"),
    "web": ("#d3ecd9", "#1d6b38"),
    "data": ("#d6e4fa", "#1f4f99"),
    "management": ("#e6e1f3", "#57448c"),
}
HEADS = {1: "#b5472f", 2: "#c07a10", 3: "#2b7a4b", 4: "#2d5fa8", 0: "#6552a0"}


def draw(fleet: Fleet) -> str:
    """Return the drawing as a picture."""
    known, drawn = groups(fleet), arrows(fleet)
    plan = layout(known)
    places = plan.places
    between = [arrow for arrow in drawn if arrow.source is not arrow.target]
    inner = {arrow.target.id: arrow.ports for arrow in drawn if arrow.source is arrow.target}
    management = fleet.topology.links["management"]
    parts = [
        _head(plan.width, plan.height),
        _title(fleet),
        *_risers(known, places, plan.band),
        *_strips(fleet, known, places, plan.low),
        _band(fleet, plan.band),
        *(_arrow(arrow, places) for arrow in between),
        _clients(fleet, places[CLIENTS]),
        *(_panel(group, places[group.id], management, inner.get(group.id)) for group in known),
        *(_label(arrow, places) for arrow in between),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _strips(fleet: Fleet, known: list[Group], places: dict[str, Box], low: float) -> Iterator[str]:
    """Yield the networks between the columns, as upright strips."""
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
    """Return a network as a strip in its colour, with its name on the strip or above it."""
    fill, ink = TINTS[link]
    x, y = box.x + box.width / 2, box.y - 14 if above else box.middle
    return (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="8" '
        f'fill="{fill}"/><text x="{x:g}" y="{y:g}" dy=".35em" text-anchor="middle" '
        f'class="net" style="fill:{ink}">{escape(text)}</text>'
    )


def _band(fleet: Fleet, box: Box) -> str:
    """Return the management network as a strip below the columns."""
    name = fleet.topology.links["management"]
    cidr = fleet.topology.networks[name].cidr
    alone = name not in [fleet.topology.links[link] for link in BETWEEN]
    text = f"{name} · {cidr} · Salt, SSH, monitoring" + ("; no users" if alone else "")
    return _network(box, "management", text, above=False)


def _risers(known: list[Group], places: dict[str, Box], band: Box) -> Iterator[str]:
    """Yield the thin lines that join each group to the management network below the columns."""
    for group in known:
        box = places[group.id]
        x = box.x + 16
        start, end = (box.middle, band.y) if group.column else (band.bottom, box.middle)
        yield (
            f'<line x1="{x:g}" y1="{start:g}" x2="{x:g}" y2="{end:g}" stroke="#b3a8d4" '
            f'stroke-width="1.5" stroke-dasharray="3 4"/>'
        )


def _clients(fleet: Fleet, box: Box) -> str:
    """Return the clients' box."""
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
    """Return a group's box with its hosts.

    `inner`: the ports that its hosts open to each other.
    """
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
    """Return a box's heading: the roles, or their number when they are too many."""
    text = group.title
    return text if len(text) <= 30 else f"{len(group.roles)} roles of {len(ROLES)}"


def _shown(group: Group) -> list[Host | str]:
    """Return the lines of a group's box: its hosts, and how many are not shown."""
    if len(group.hosts) <= SHOWN:
        return list(group.hosts)
    hidden = len(group.hosts) - SHOWN + 1
    return [*group.hosts[: SHOWN - 2], f"… {hidden} more", group.hosts[-1]]


def _host(host: Host | str, management: str, x: float, y: float, width: float) -> str:
    """Return one line of a group's box: a host's id and addresses."""
    if isinstance(host, str):
        return f'<text x="{x + 10:g}" y="{y + 19:g}" class="soft">{escape(host)}</text>'
    addresses = [text for name, text in host.addresses.items() if name != management]
    listed = addresses or list(host.addresses.values())
    shown = " · ".join(listed)
    if 9 * len(host.id) + 6 * len(shown) > width - 24:
        shown = listed[-1]  # there is room for one address only
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{ROW - 6}" rx="6" fill="#f3f6f9"/>'
        f'<text x="{x + 8:g}" y="{y + 19:g}" class="id">{escape(host.id)}</text>'
        f'<text x="{x + width - 8:g}" y="{y + 18:g}" text-anchor="end" class="soft">'
        f"{escape(shown)}</text>"
    )


def _ends_of(arrow: Arrow, places: dict[str, Box]) -> tuple[float, float, float, float, bool]:
    """Return where an arrow begins and ends, and whether it stays within one column."""
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
    """Return an arrow as a curve."""
    x1, y1, x2, y2, within = _ends_of(arrow, places)
    bend = 0 if within else (x2 - x1) * 0.5
    return (
        f'<path d="M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}" '
        f'fill="none" stroke="{LINE}" stroke-width="1.8" marker-end="url(#tip)"/>'
    )


def _label(arrow: Arrow, places: dict[str, Box]) -> str:
    """Return the ports of an arrow, in its middle."""
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
    """Return the picture's title."""
    service, applications = fleet.topology.service, fleet.topology.applications.values()
    domains = ", ".join(one.domain for one in applications)
    published = ", ".join(str(port) for port in service.ports)
    kinds = ", ".join(dict.fromkeys(one.definition for one in applications))
    text = f"{kinds} on {service.called}, ports {published}"
    return (
        f'<text x="{MARGIN}" y="44" class="title">{escape(domains)}</text>'
        f'<text x="{MARGIN}" y="66" class="soft">{escape(text)} · '
        f"{len(fleet.hosts)} {'hosts' if len(fleet.hosts) > 1 else 'host'}</text>"
    )


def _head(width: float, height: float) -> str:
    """Return the picture's first lines: its size, its fonts and its background."""
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
