"""The arguments of OpenTofu's resources, with which a test compares what `cloud.tofu` writes.

The providers themselves come from OpenTofu's registry only. Their arguments are also described in
packages of PyPI. This reads such packages and keeps the resources that are used:

    cd DIRECTORY; pip download --no-deps cdktf-cdktf-provider-{openstack,aws,google}
    PYTHONPATH=.:fleet:_utils .venv/bin/python -m tools.providers DIRECTORY
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salina_fleet.fleet import Fleet
from salina_fleet.model import settings, topology
from salina_fleet.provision.clouds import CLOUDS, tofu

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "docs/cloud-topology.yaml"
KEPT = ROOT / "tests/unit/data/tofu"
ARGUMENT = re.compile(r"#(\w+) ")


def example() -> Fleet:
    """Return the fleet of docs/cloud-topology.yaml."""
    found = topology.load(EXAMPLE)
    return Fleet(found, found.initial(), settings.load(ROOT / "pillar/settings"))


def used(cloud: str) -> list[str]:
    """Return the types of the resources and data sources that a cloud uses."""
    content = tofu(cloud, example())
    return [*content["resource"], *(f"data.{name}" for name in content.get("data", {}))]


def assembly(wheel: Path) -> Mapping[str, Any]:
    """Return the description of all types in a package."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(archive.read(name))) as inner:
            file = inner.extractfile("package/.jsii")
            assert file
            found: Mapping[str, Any] = json.load(file)
    return found


def arguments(described: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the arguments of a type: name -> its type, and whether it is required."""
    found = {}
    for one in described["types"][name].get("properties", ()):
        link = ARGUMENT.search(one["docs"].get("summary", "") + one["docs"].get("remarks", ""))
        if link:  # the others are of the package itself
            found[link[1]] = {
                "type": _type(described, one["type"]),
                "required": not one.get("optional", False),
            }
    return found


def _type(described: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    if "primitive" in given:
        return given["primitive"]
    if "collection" in given:
        kind = {"array": "list", "map": "map"}[given["collection"]["kind"]]
        return [kind, _type(described, given["collection"]["elementtype"])]
    if "union" in given:
        known = [one for one in given["union"]["types"] if one.get("fqn") != "cdktf.IResolvable"]
        return _type(described, known[0])
    return arguments(described, given["fqn"])


def of_resource(described: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the arguments of a resource, or of a data source: `data.NAME`.

    A package has the type NetworkingPortV2Config for the resource openstack_networking_port_v2.
    """
    data, kind = name.startswith("data."), name.removeprefix("data.")
    short = kind if data else kind.partition("_")[2]
    wanted = f"{'data' * data}{short.replace('_', '')}"
    (found,) = (
        one for one in described["types"] if one.lower().endswith(f".{wanted}.{wanted}config")
    )
    return arguments(described, found)


def main(folder: Path) -> None:
    """Write the arguments of the resources that are used, one file for each cloud."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for cloud in CLOUDS:
        (wheel,) = folder.glob(f"cdktf_cdktf_provider_{cloud}-*.whl")
        described = assembly(wheel)
        found = {name: of_resource(described, name) for name in used(cloud)}
        text = json.dumps({"package": wheel.name, "arguments": found}, indent=1, sort_keys=True)
        (KEPT / f"{cloud}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
