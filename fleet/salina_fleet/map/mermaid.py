"""The fleet as Mermaid's text, for Markdown."""

from __future__ import annotations

from salina_fleet.fleet import Fleet
from salina_fleet.map.groups import CLIENTS, arrows, groups
from salina_fleet.model.topology import Host


def draw(fleet: Fleet) -> str:
    """Return the drawing as text."""
    lines = ["flowchart LR", f"  {CLIENTS}(({CLIENTS}))"]
    for group in groups(fleet):
        lines.append(f'  subgraph {group.id}["{group.title}"]')
        for host in group.hosts:
            addresses = "<br/>".join(host.addresses.values())
            lines.append(f'    {_node(host)}["<b>{host.id}</b><br/>{addresses}"]')
        lines.append("  end")
    for arrow in arrows(fleet):
        source = arrow.source.id if arrow.source else CLIENTS
        lines.append(f'  {source} -->|"{arrow.ports}"| {arrow.target.id}')
    return "\n".join(lines) + "\n"


def _node(host: Host) -> str:
    return "host_" + host.id.replace("-", "_")
