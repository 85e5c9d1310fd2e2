"""Generated files where the master reads them, and everything that the master makes from them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from salina_fleet import pillar, site
from salina_fleet.model import definition
from salina_fleet.model.settings import COMPONENTS
from salina_fleet.schema.declare import record
from salina_fleet.site import Site
from tests import fleets
from tests.generated import shapes, values
from tests.render import caches
from tests.render.minion import Minion

SHARED = ("salt", "_modules", "_states", "_utils")
"""The parts of the repository that no operator writes."""


@dataclass(frozen=True)
class Input:
    """Everything that an operator writes: the topology, settings and definitions by their names."""

    topology: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]
    definitions: Mapping[str, Mapping[str, Any]]

    def text(self) -> str:
        """Return all files, one after the other."""
        return "\n".join(f"# {name}\n{_dump(content)}" for name, content in self.files())

    def files(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield each file's path in the repository, and its content."""
        yield site.TOPOLOGY, self.topology
        for name, content in self.settings.items():
            yield f"{site.SETTINGS}/{name}.yaml", content
        for name, content in self.definitions.items():
            yield f"{site.APPLICATIONS}/{name}.yaml", content


def _dump(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


@st.composite
def inputs(draw: st.DrawFn) -> Input:
    """Return a topology with the repository's settings and definitions, some of them changed.

    One in three has everything on one host, where a host costs little, and more changed values.
    """
    dense = draw(st.integers(1, 3)) == 1
    found = fleets.data("one-host") if dense else draw(shapes.topologies())
    if dense:
        chosen = draw(st.sampled_from(fleets.APPLICATIONS))
        found["applications"]["crm"]["definition"] = chosen
    many = 6 if dense else 3
    names = {"networks": tuple(found["networks"]), "hosts": tuple(found["hosts"])}
    components = st.lists(st.sampled_from(sorted(COMPONENTS)), max_size=many, unique=True)
    tuned = {
        name: draw(values.changed(record(COMPONENTS[name]), {}, names, 3))
        for name in draw(components)
    }
    defined = {}
    for name in sorted({one["definition"] for one in found["applications"].values()}):
        base = yaml.safe_load((fleets.REPOSITORY / "pillar/app" / f"{name}.yaml").read_text())
        defined[name] = draw(values.changed(definition.RULE, base, names, many // 2))
    return Input(found, tuned, defined)


def read(given: Input, root: Path) -> Site:
    """Write the files into a directory, and read it as the master does.

    Raises:
        SiteError: some file has a fault.
    """
    for name in SHARED:
        place = root / name
        if not place.exists():
            place.symlink_to(fleets.REPOSITORY / name)
    shutil.rmtree(root / "pillar", ignore_errors=True)
    for path, content in given.files():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_dump(content), encoding="utf-8")
    site._known.clear()
    return site.read(root, root / "state")


def minions(found: Site) -> Iterator[Minion]:
    """Yield every host of a fleet, with the pillar that the master gives it."""
    data = replace(
        found.data,
        revisions=fleets.Recorded(),
        secrets=fleets.Kept(),
        tree=fleets.TREE,
    )
    for name in found.fleet.hosts:
        yield Minion(name, pillar.select(data, name))
        caches.forget()
