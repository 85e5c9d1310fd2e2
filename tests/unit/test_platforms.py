"""Platforms (S1, K5): the differences are data, and what a platform cannot do is refused early."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from salina_fleet import pillar
from salina_fleet.fleet import Fleet
from salina_fleet.kinds import KINDS
from salina_fleet.model import release, topology
from salina_fleet.model.topology import TopologyError
from salina_fleet.platforms import DEFAULT, PLATFORMS
from salina_fleet.roles.database import DatabaseSettings
from salina_fleet.schema import document
from salina_fleet.site import SiteError, read
from tests import fleets

COMPONENTS = document.read(fleets.REPOSITORY / "salt/packages.yaml")
Change = Callable[[dict[str, Any]], None]


def put(*path: str, value: object) -> Change:
    """Return a change that sets a key of a topology."""

    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


def faults_of(change: Change) -> tuple[str, ...]:
    """Return the faults of the default topology after a change."""
    data = fleets.data()
    change(data)
    with pytest.raises(TopologyError) as caught:
        topology.parse(data)
    return caught.value.faults


def test_a_platform_differs_only_in_components_that_exist() -> None:
    for one in PLATFORMS.values():
        assert set(one.packages) <= set(COMPONENTS), one.name
        assert set(one.without) <= set(KINDS), one.name
        assert all(list(packages) != COMPONENTS[name] for name, packages in one.packages.items())
    assert PLATFORMS[DEFAULT].packages == {}


def test_postgresql_has_its_version_in_the_names_of_packages() -> None:
    """No platform forgets one of them: each has its own version in every list."""
    for one in PLATFORMS.values():
        components = COMPONENTS | one.packages
        names = [name for packages in components.values() for name in packages]
        versions = {name.rpartition("-")[2] for name in names if name.startswith("postgresql-")}
        assert versions == {str(one.postgresql)}, one.name


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            put("hosts", "fw", "platform", value="debian-11"),
            'hosts.fw.platform: "debian-11" is not a platform; choose one of: debian-12, '
            "debian-13, ubuntu-24.04",
        ),
        (
            put("hosts", "bbdd2", "platform", value="debian-13"),
            'hosts.bbdd2.platform: "debian-13" is not valid; must be debian-12, as '
            "hosts.bbdd1.platform: the database needs the same platform on all its hosts",
        ),
        (
            put("hosts", "bkp1", "platform", value="debian-13"),
            'hosts.bkp1.platform: "debian-13" is not valid; must be debian-12, as '
            "hosts.bbdd1.platform: the database needs the same platform on all its hosts",
        ),
        (
            put(
                *("hosts", "old"),
                value={
                    "roles": ["app"],
                    "platform": "debian-13",
                    "addresses": {
                        "web": "10.1.3.99",
                        "data": "10.1.4.99",
                        "management": "10.1.5.99",
                    },
                },
            ),
            'pools.app.platform: "debian-12" is not valid; must be debian-13, as '
            "hosts.old.platform: the application crm needs the same platform on all its hosts",
        ),
    ],
    ids=["unknown", "database", "backup", "application"],
)
def test_k5_hosts_that_belong_together_have_one_platform(change: Change, fault: str) -> None:
    """K5: The fault names both places, and the reason."""
    assert faults_of(change) == (fault,)


@pytest.mark.parametrize("host", ["salt", "fw", "lb1", "nas1", "nagios", "ges"])
def test_other_hosts_may_differ(host: str) -> None:
    data = fleets.data()
    put("hosts", host, "platform", value="debian-13")(data)
    parsed = topology.parse(data)
    assert topology.parse(parsed.to_dict()) == parsed
    assert {one.platform for one in parsed.hosts} == {"debian-12", "debian-13"}


@pytest.mark.parametrize(("name", "version"), [("default", 15), ("debian-13", 17)])
def test_the_platform_decides_the_version_of_postgresql(name: str, version: int) -> None:
    found = fleets.pillar("bbdd1", name)
    assert found["database"]["version"] == version
    assert found["archiving"]["database_files"] == f"/var/lib/postgresql/{version}/salina"
    assert fleets.pillar("bkp1", name)["scratch"]["version"] == version


def test_k5_a_version_that_cannot_be_installed_is_refused() -> None:
    """K5: A number in the settings keeps the database where it is."""
    found, own = fleets.topology("debian-13"), fleets.settings()
    for version, faults in (
        (None, []),
        (17, []),
        (
            15,
            [
                (
                    "version",
                    "15 is not valid; must be 17 or null, because Debian 13 has no other version",
                )
            ],
        ),
    ):
        wanted = replace(own[DatabaseSettings], version=version)
        assert list(wanted.conflicts(found, own.but(wanted), {})) == faults


def test_another_platform_has_releases_of_its_own() -> None:
    """A release has an interpreter and libraries of the host that built it."""
    definition = fleets.definition("sample-crm")
    names = {release.name(definition, [fleets.COMMIT], {}, platform) for platform in PLATFORMS}
    assert len(names) == len(PLATFORMS)
    assert release.name(definition, [fleets.COMMIT], {}) in names
    data = fleets.master_data(fleets.fleet("debian-13"))
    wanted = release.name(definition, [fleets.COMMIT], fleets.LOCKS, "debian-13")
    assert release.wanted(data, "crm") == wanted
    assert fleets.pillar("s1", "debian-13")["app"]["release"]["name"] == wanted


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of its own, with nothing but data and Python."""
    for name in ("pillar", "salt/locks", "_utils"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(fleets.REPOSITORY / name, tmp_path / name, ignore=ignore)
    return tmp_path


@pytest.mark.parametrize(
    ("platform", "definition", "fault"),
    [
        (
            "debian-13",
            "odoo-14.0",
            "pillar/topology.yaml: applications.crm.definition: odoo-14.0 has kind odoo, which "
            "needs wkhtmltopdf; Debian 13 does not have it; choose another platform for its hosts",
        ),
        (
            "ubuntu-24.04",
            "odoo-19.0",
            'pillar/app/odoo-19.0.yaml: odoo.python.interpreter: "python3.11" is not valid; must '
            "be python3.12, which is the interpreter of Ubuntu 24.04; the hosts of crm have "
            "platform ubuntu-24.04",
        ),
        (
            "ubuntu-24.04",
            "odoo-14.0",
            'pillar/app/odoo-14.0.yaml: odoo.python.release: "bullseye" is not a release on the '
            "mirrors of Ubuntu 24.04; there is none to choose from; the hosts of crm have "
            "platform ubuntu-24.04",
        ),
    ],
    ids=["package", "interpreter", "release"],
)
def test_k5_an_application_that_a_platform_cannot_run(
    root: Path, platform: str, definition: str, fault: str
) -> None:
    """K5: It is refused before anything changes."""
    data = fleets.data()
    data["applications"]["crm"]["definition"] = definition
    data["pools"]["app"]["platform"] = platform
    (root / "pillar/topology.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(SiteError) as caught:
        read(root, root / "state")
    assert caught.value.faults == (fault,)


def test_a_host_gets_the_differences_of_its_own_platform() -> None:
    data = fleets.data()
    put("hosts", "lb1", "platform", value="debian-13")(data)
    found = topology.parse(data)
    pillars = {
        host: pillar.select(
            fleets.master_data(Fleet(found, found.initial(), fleets.settings())), host
        )
        for host in ("lb1", "s1")
    }
    assert pillars["s1"]["host"]["packages"] == {}
    assert pillars["lb1"]["host"]["packages"]["database"][0] == "postgresql-17"
    assert pillars["lb1"]["host"]["platform"] == {
        "name": "debian-13",
        "finger": "Debian-13",
        "gluster_certificates": "/etc/ssl",
    }


@pytest.mark.parametrize(
    ("name", "address"), [("default", "127.0.0.1"), ("debian-13", "127.0.0.2")]
)
def test_the_name_of_the_database_shares_no_address_with_localhost_for_c_ares(
    name: str, address: str
) -> None:
    """Where pgbouncer resolves names with a c-ares that joins the names of one address."""
    found = fleets.pillar("s1", name)
    [own] = [one["address"] for one in found["hosts"] if "database" in one["names"]]
    assert found["database_route"]["address"] == own == address
