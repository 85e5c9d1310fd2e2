"""Write the generated documents: `make docs`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from salina_fleet import metrics, policy
from tests import fleets
from tools import pillar, platforms, requirements, settings, software

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Which host may open which port

`make docs` writes this file from the rows in the roles' files
([fleet/salina_fleet/roles/](../fleet/salina_fleet/roles/)) and from `pillar/topology.yaml`. On a
master `salt-run topology.table` prints the same table for its fleet. Every host's firewall drops
all other connections, those that it gets and those that it opens. The rows to the outside are
`egress` of `pillar/settings/firewall.yaml`. The firewall host forwards only the
rows from `anybody`. A host that has both roles of a row needs no rule, because its firewall never
filters loopback.

"""


def ports() -> str:
    """Write docs/ports.md."""
    return HEAD + policy.markdown(fleets.fleet())


DEPLOYMENT = "docs/deployment.md"
BEGIN, END = "<!-- begin: make docs -->\n", "<!-- end: make docs -->\n"
"""The lines around the part of a document that is written here; people write the rest."""


def deployment() -> str:
    """Write the packages and units of each machine into docs/deployment.md."""
    before, _, rest = (ROOT / DEPLOYMENT).read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{software.markdown()}\n{END}{rest.partition(END)[2]}"


def grafana() -> str:
    """Write docs/grafana.json."""
    return json.dumps(metrics.grafana(metrics.graphs(fleets.fleet())), indent=2) + "\n"


FILES: Mapping[str, Callable[[], str]] = {
    "docs/requirements.md": lambda: requirements.markdown(ROOT),
    "docs/pillar.md": pillar.markdown,
    "docs/settings.md": settings.markdown,
    "docs/platforms.md": platforms.markdown,
    "docs/ports.md": ports,
    DEPLOYMENT: deployment,
    "docs/grafana.json": grafana,
}
"""Generated file -> what writes its content."""


def main() -> None:
    """Write every generated document."""
    for name, write in FILES.items():
        (ROOT / name).write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()
