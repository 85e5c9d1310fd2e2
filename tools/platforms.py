"""The platforms and their differences: docs/platforms.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from salina_fleet.platforms import DEFAULT, PLATFORMS, Platform

PACKAGES = Path(__file__).resolve().parent.parent / "salt/packages.yaml"
HEAD = """# Platforms

`make docs` writes this file from
[fleet/salina_fleet/platforms.py](../fleet/salina_fleet/platforms.py). The key `platform` of a host
or of a pool in `pillar/topology.yaml` names its operating system. Without the key it is Debian 12.
The reasons: [decision 73](decisions/0073-the-topology-names-the-platform.md).

"""
RULES = """
## Which hosts may differ

The database hosts and the backup host have the same platform, because a cluster has one version of
PostgreSQL, and both ends of pgBackRest have the same version. All hosts of one application have the
same platform, because one of them builds its releases. `salt-run topology.check` refuses anything
else. Every other host may have any platform. The storage hosts of a new fleet need the same one,
too: GlusterFS of Debian 13 accepts no new host with that of Debian 12.

An apply compares the platform with the system that the host runs (Salt's grain `osfinger`). If they
differ, its first state fails, and no other one runs.

## Move a host to another platform

Install the host again with the new system, give it the new `platform` in the topology, and deploy
it as a new host. Take one host of a tier at a time.

The app hosts of one application move together, because they have one platform. The release belongs
to the platform, so the first of the new hosts builds the application again.

Salina cannot move a database to another version of PostgreSQL: replicas and backups need the
version that made them. Build a second fleet, and move the data with `pg_dump`. While `version` of
`pillar/settings/database.yaml` has a number, a topology with another version is refused. This keeps
a change of the platform from becoming a change of PostgreSQL by accident.

`parameters` of that file are judged by the table of the version that the database hosts have.

## In the lab

`make up TOPOLOGY=tests/topologies/debian-13.yaml` deploys a fleet of Debian 13. The lab cannot
build Ubuntu, because it installs hosts from the mirrors of Debian only.
"""


def markdown() -> str:
    """Write docs/platforms.md."""
    every = list(PLATFORMS.values())
    rows: list[tuple[str, Sequence[str]]] = [
        ("`platform`", [f"`{one.name}`" for one in every]),
        ("code name", [one.codename for one in every]),
        ("grain `osfinger`", [f"`{one.finger}`" for one in every]),
        ("its own Python", [one.python for one in every]),
        ("PostgreSQL", [str(one.postgresql) for one in every]),
        ("how far it was tried", [one.tried for one in every]),
        ("cannot run", [_without(one) for one in every]),
        ("releases for an interpreter", [", ".join(one.releases) or "none" for one in every]),
        *_packages(every),
        ("GlusterFS' certificates in", [f"`{one.gluster_certificates}`" for one in every]),
        ("address of `database`", [f"`{one.route}`" for one in every]),
    ]
    lines = [f"| | {' | '.join(one.title for one in every)} |", "|---" * (len(every) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    return HEAD + "\n".join(lines) + "\n" + RULES


def _without(platform: Platform) -> str:
    found = [f"`{kind}`: it has no {package}" for kind, package in platform.without.items()]
    return ", ".join(found) or "nothing"


def _packages(every: Sequence[Platform]) -> Iterator[tuple[str, list[str]]]:
    """Yield the components of which some platform has other packages."""
    usual = yaml.safe_load(PACKAGES.read_text(encoding="utf-8"))
    assert not PLATFORMS[DEFAULT].packages
    for name in dict.fromkeys(name for one in every for name in one.packages):
        cells = [", ".join(one.packages.get(name, usual[name])) for one in every]
        yield f"packages of `{name}`", cells
