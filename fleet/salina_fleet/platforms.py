"""The operating systems that a host may have, each with its differences from Debian 12.

This file is the only place that knows them. The topology names a host's platform, the pillar passes
the differences on, and states and the lab read them. Why so:
docs/decisions/0073-the-topology-names-the-platform.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT = "debian-12"
"""The platform of a host for which the topology names none."""


@dataclass(frozen=True)
class Platform:
    """An operating system.

    `title`: its name for people. `finger`: Salt's grain `osfinger` on it. `codename`: the code name
    of its release. `python`: the version of its own Python. `postgresql`: the major version of
    PostgreSQL that it has. `tried`: how far this project has been tried on it.

    `packages`: a component of salt/packages.yaml -> its packages here, where they differ.
    `without`: a kind of application that it cannot run -> the package that it does not have.
    `releases`: the other releases on its mirrors, from which a definition may take its interpreter.
    `updates`: the origins of its security updates, as unattended-upgrades writes them.
    `gluster_certificates`: the directory in which its GlusterFS expects its key and certificates.
    `route`: the loopback address at which an app host finds the database. c-ares, with which
    pgbouncer resolves names there, joins the names of one address in /etc/hosts: beside `localhost`
    the name would also be `::1`, where nothing listens.
    """

    name: str
    title: str
    finger: str
    codename: str
    python: str
    postgresql: int
    tried: str
    gluster_certificates: str
    route: str
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)
    releases: tuple[str, ...] = ()
    updates: tuple[str, ...] = ()


DEBIAN_UPDATES = (
    "origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
    "origin=Debian,codename=${distro_codename},label=Debian-Security",
)


def _postgresql(version: int) -> dict[str, tuple[str, ...]]:
    """Return the packages of the components that have PostgreSQL's version in a name."""
    client = f"postgresql-client-{version}"
    return {"database": (f"postgresql-{version}", client), "database_route": ("pgbouncer", client)}


PLATFORMS: Mapping[str, Platform] = {
    one.name: one
    for one in (
        Platform(
            name="debian-12",
            title="Debian 12",
            finger="Debian-12",
            codename="bookworm",
            python="3.11",
            postgresql=15,
            tried="deployed; all tests run on it",
            gluster_certificates="/usr/lib/ssl",
            route="127.0.0.1",
            releases=("bullseye",),
            updates=DEBIAN_UPDATES,
        ),
        Platform(
            name="debian-13",
            title="Debian 13",
            finger="Debian-13",
            codename="trixie",
            python="3.13",
            postgresql=17,
            tried="deployed with the sample application",
            gluster_certificates="/etc/ssl",
            route="127.0.0.2",
            packages=_postgresql(17),
            without={"odoo": "wkhtmltopdf"},
            updates=DEBIAN_UPDATES,
        ),
        Platform(
            name="ubuntu-24.04",
            title="Ubuntu 24.04",
            finger="Ubuntu-24.04",
            codename="noble",
            python="3.12",
            postgresql=16,
            tried="only rendered: nobody has installed its packages",
            gluster_certificates="/etc/ssl",
            route="127.0.0.2",
            packages=_postgresql(16),
            updates=("origin=Ubuntu,archive=${distro_codename}-security,label=Ubuntu",),
        ),
    )
}
"""name -> platform. Components without an entry in `packages` are the same as on Debian 12."""


def named_for_postgresql(pattern: str, purpose: str) -> dict[str, str]:
    """Return the purpose of a package whose name has PostgreSQL's version, for every version.

    Args:
        pattern: the name with {} for the version, such as `postgresql-{}`.
        purpose: its purpose.
    """
    versions = {one.postgresql for one in PLATFORMS.values()}
    return {pattern.format(version): purpose for version in sorted(versions)}
