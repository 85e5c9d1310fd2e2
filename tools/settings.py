"""The keys of the files in pillar/: docs/settings.md.

All of it comes from the declarations of `salina_fleet`: what is allowed, the default, the meaning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import yaml

from salina_fleet.model import definition, settings
from salina_fleet.model.topology import Topology
from salina_fleet.schema.declare import Entry, describe

HEAD = """# The keys of the files in pillar/

`make docs` writes this file from the declarations in
[roles](../fleet/salina_fleet/roles), [model](../fleet/salina_fleet/model) and
[kinds](../fleet/salina_fleet/kinds). `salt-run topology.check` checks all of these files. How to
change a value: [change an option of a daemon](guides/change-an-option-of-a-daemon.md).

`[]` stands for each entry of a list, `NAME` for any key of a mapping. A key that has a default may
be left out.
"""
LONG = 60
"""The most characters of a default in the table; a longer one stands below the table."""


def sections() -> Iterator[tuple[str, str, list[Entry]]]:
    """Return each file or kind of file with its purpose and its keys."""
    for name, kind in sorted(settings.COMPONENTS.items()):
        yield f"pillar/settings/{name}.yaml", _first(kind), list(describe(kind))
    yield "pillar/topology.yaml", _first(Topology), list(describe(Topology))
    words = _first(definition.Definition)
    yield "pillar/app/NAME.yaml", words, list(describe(definition.RULE))


def _first(kind: type) -> str:
    """Return the first paragraph of a class's docstring."""
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def markdown() -> str:
    """Write docs/settings.md."""
    lines = [HEAD]
    for name, about, entries in sections():
        lines += [f"## {name}", "", about, ""]
        lines += ["| key | allowed | default | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{entry.path}` | {entry.words} | {_default(entry)} | {entry.about} |"
            for entry in entries
        ]
        for entry in entries:
            if len(entry.default) > LONG:
                lines += ["", f"The default of `{entry.path}`:", "", "```yaml"]
                lines += yaml.safe_dump(json.loads(entry.default), sort_keys=False).splitlines()
                lines.append("```")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _default(entry: Entry) -> str:
    if len(entry.default) > LONG:
        return "below"
    words = entry.default == "none" or entry.default.startswith("required")
    return entry.default if words else f"`{entry.default}`"
