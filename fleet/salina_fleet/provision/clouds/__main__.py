"""Print the networks, rules and ports of pillar/topology.yaml for OpenTofu, without a master.

Usage: python -m salina_fleet.provision.clouds openstack > fleet.tf.json

The master itself needs them, so the first time there is none. Later `salt-run cloud.tofu` writes
the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from salina_fleet.fleet import Fleet
from salina_fleet.model import settings, topology
from salina_fleet.provision.clouds import CLOUDS, faults, tofu
from salina_fleet.schema.document import DataError
from salina_fleet.schema.faults import not_among
from salina_fleet.site import SETTINGS, TOPOLOGY

ROOT = Path(__file__).resolve().parents[4]


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Print the file; return the exit code. The faults of the topology are on standard error."""
    cloud = " ".join(arguments)
    if cloud not in CLOUDS:
        print(f"cloud: {not_among(cloud, CLOUDS, 'a cloud')}", file=sys.stderr)
        return 2
    try:
        tuned = settings.load(root / SETTINGS)
        planned = topology.load(root / TOPOLOGY, tuned)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    fleet = Fleet(planned, planned.initial(), tuned)
    found = faults(cloud, fleet)
    if found:
        print("\n".join(found), file=sys.stderr)
        return 1
    print(json.dumps(tofu(cloud, fleet), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
