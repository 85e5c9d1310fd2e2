"""Fleets for tests: the default one and the other topologies, with fake secrets.

Secrets read `canary-NAME`, so that a test can look for them where they must not be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from salina.common.certificate import new_account_key
from salina_fleet import pillar as pillars
from salina_fleet import report
from salina_fleet import secrets as salina_secrets
from salina_fleet.fleet import Fleet
from salina_fleet.kinds import KINDS
from salina_fleet.model import definition as salina_definition
from salina_fleet.model import release
from salina_fleet.model import settings as salina_settings
from salina_fleet.model import topology as salina_topology
from salina_fleet.model.backup import BackupSettings
from salina_fleet.model.second import SecondSettings
from salina_fleet.model.settings import Settings
from salina_fleet.model.tls import AcmeSettings, TlsSettings
from salina_fleet.model.topology import Topology
from salina_fleet.revisions import FILE as REVISIONS
from salina_fleet.revisions import Source
from salina_fleet.role import MasterData
from salina_fleet.roles import storage
from salina_fleet.roles.balancer import BalancerSettings
from salina_fleet.schema import document

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT = REPOSITORY / "pillar" / "topology.yaml"
OTHERS = {file.stem: file for file in sorted((REPOSITORY / "tests" / "topologies").glob("*.yaml"))}
"""name -> file: one-host, five-apps, plain (no storage, no replica), ipv6, two-applications, pairs
(two firewalls, two balancers), and staging, which has a copy for trials.
"""
APPLICATIONS = [file.stem for file in sorted((REPOSITORY / "pillar" / "app").glob("*.yaml"))]
SHIPPED = ("crm-2017", "odoo-14.0", "odoo-17.0", "odoo-18.0", "odoo-19.0", "sample-crm")
"""The definitions of this repository. An operator may have added others."""
TREE = "0" * 64
LOCKS = {"odoo-14.0.txt": "1" * 64}
COMMIT = "c0ffee" + "0" * 34
PUBLIC = "ca.crt"
PUBLIC_OF_FILES = "files-ca.crt"
"""Kept with the secrets, but for everyone to read."""


def data(name: str = "default") -> dict[str, Any]:
    """A topology's content, to be changed by the test."""
    content: dict[str, Any] = document.read(OTHERS.get(name, DEFAULT))
    return content


@cache
def topology(name: str = "default") -> Topology:
    """A topology by name."""
    return salina_topology.load(OTHERS.get(name, DEFAULT))


@cache
def settings() -> Settings:
    """The repository's own settings."""
    return salina_settings.load(REPOSITORY / "pillar" / "settings")


ACME = settings().but(
    replace(settings()[TlsSettings], public="acme", acme=AcmeSettings("https://directory.example/"))
)
"""The repository's settings, but an ACME directory issues the published certificates."""

BY_LOAD = settings().but(replace(settings()[BalancerSettings], balance="load"))
"""The repository's settings, but the balancer goes by load."""


SECOND = settings().but(
    replace(
        settings()[BackupSettings],
        second=SecondSettings(
            kind="sftp",
            path="/srv/salina",
            host="198.51.100.9",
            user="salina",
            host_keys=("ssh-ed25519 AAAA",),
        ),
    )
)
"""The repository's settings, but the backups have a mirror on another host."""


def fleet(name: str = "default") -> Fleet:
    """A topology with its initial members and the repository's settings."""
    found = topology(name)
    return Fleet(found, found.initial(), settings())


@cache
def definition(name: str) -> Mapping[str, Any]:
    """Return the definition of an application, from pillar/app."""
    return salina_definition.load(REPOSITORY / "pillar" / "app" / f"{name}.yaml").to_dict()


@cache
def without_lock() -> Mapping[str, Any]:
    """Return the newest Odoo's definition with the requirements of its code in place of a lock."""
    data: dict[str, Any] = document.read(REPOSITORY / "pillar" / "app" / "odoo-19.0.yaml")
    data["odoo"]["python"] = {
        "interpreter": "python3.11",
        "packages": ["build-essential", "libpq-dev", "python3-dev"],
        "requirements": "requirements.txt",
        "without_dependencies": ["odoo-addon-session-db==19.0.1.0.0.2"],
        "constraints": ["setuptools<82"],
    }
    return salina_definition.parse(data, "odoo-19.0").to_dict()


def pillar(
    minion: str, name: str = "default", own: Settings | None = None, application: str = ""
) -> dict[str, Any]:
    """A minion's pillar as the master would hand it out, but for the secrets' values.

    `own`: other settings than the repository's; `application`: another file of pillar/app than the
    topology's.
    """
    found = topology(name)
    if application:
        others = {
            key: replace(one, definition=application) for key, one in found.applications.items()
        }
        found = replace(found, applications=others)
    whole = Fleet(found, found.initial(), own or settings())
    return pillars.select(master_data(whole), minion)


def master_data(whole: Fleet, store: salina_secrets.FakeStore | None = None) -> MasterData:
    """Return the data for a pillar, with fake secrets."""
    kept = store or Kept()
    return MasterData(
        whole, definitions(whole.topology), Recorded(), LOCKS, kept, TREE, pillars.STATE
    )


class Kept(salina_secrets.FakeStore):
    """Fake secrets, but for the account's key, whose thumbprint the pillar has."""

    def get(self, name: str) -> str:
        """Return a value that names the secret, or a real key."""
        value = super().get(name)
        return account_key() if name == salina_secrets.ACME_ACCOUNT else value


@cache
def account_key() -> str:
    """Return the key of an account at an ACME directory, the same in every test."""
    return new_account_key()


class Recorded:
    """The commits of all definitions, none of them from a repository."""

    def commit(self, name: str, source: Source) -> str:
        """Return the same commit always."""
        return COMMIT


def record(state: Path) -> None:
    """Record a commit for each file of pillar/app, so that no repository is asked."""
    state.mkdir(parents=True, exist_ok=True)
    records = {
        label: {"repository": one["repository"], "revision": one["revision"], "commit": COMMIT}
        for name in APPLICATIONS
        for label, one in release.sources(name, definition(name)).items()
    }
    (state / REVISIONS).write_text(json.dumps(records))


def definitions(of: Topology) -> dict[str, Mapping[str, Any]]:
    """Return the definitions of a topology's applications."""
    return {one.definition: definition(one.definition) for one in of.applications.values()}


def cards(pillar: Mapping[str, Any]) -> dict[str, Any]:
    """Salt's functions that look at a host's interfaces, for one whose first is card0."""
    names = interfaces(pillar)
    return {"ufw.interface": lambda address: names[address][0]}


def interfaces(pillar: Mapping[str, Any]) -> dict[str, list[str]]:
    """The interfaces of a host, as `salina.firewall.ufw.interfaces` finds them: card0, card1, …"""
    return {one["in"]: [f"card{place}"] for place, one in enumerate(pillar["ufw"]["near"])}


def everyone() -> list[tuple[str, str]]:
    """(topology, minion) of every host of every fleet, for parametrised tests."""
    return [(name, host) for name in ("default", *OTHERS) for host in fleet(name).hosts]


def kinds() -> list[tuple[str, str]]:
    """(topology, minion), one minion for each set of roles and application: the others differ in
    addresses.
    """
    found = {}
    for name, host in everyone():
        here = fleet(name).hosts[host]
        found[name, here.roles, here.application] = host
    return [(name, host) for (name, *_), host in found.items()]


SOON = ("default", "one-host", "pairs", "two-applications")
"""The topologies whose hosts `make check` renders. `make test` renders those of all."""


def balancers() -> list[tuple[str, str]]:
    """(topology, minion) of those with a balancer."""
    return [(name, host) for name, host in kinds() if "balancer" in fleet(name).hosts[host].roles]


def backed_up() -> list[tuple[str, str]]:
    """(topology, minion) of those with the backups."""
    return [(name, host) for name, host in kinds() if "backup" in fleet(name).hosts[host].roles]


def has_bricks(host: str, name: str = "default") -> bool:
    """Tell whether a host has the role storage and is not a spare."""
    return host in [one.id for one in storage.holding(fleet(name))]


def secrets_of(host: str, name: str = "default") -> set[str]:
    """The names of the secrets that a host may see: by its roles, and of its own application."""
    here, own = fleet(name).hosts[host], salina_secrets.own
    found: set[str] = set()
    if "database" in here.roles:
        passwords = {
            own(application, purpose)
            for application in topology(name).applications
            for purpose in ("database", salina_secrets.RECORD)
        }
        found |= {*salina_secrets.DATABASE, *passwords}
        found.add(salina_secrets.ETCD_PATRONI)
    if "balancer" in here.roles:
        found |= {own(application.name, "visitors") for application in topology(name).copies}
    if "quorum" in here.roles:
        found |= {salina_secrets.ETCD_ROOT, salina_secrets.ETCD_PATRONI}
    if "backup" in here.roles:
        found |= {salina_secrets.BACKUP, salina_secrets.FILES_BACKUP}
    if has_bricks(host, name) and fleet(name).having("backup"):
        found.add(salina_secrets.FILES_BACKUP)
    if "monitoring" in here.roles:
        for one in topology(name).applications.values():
            kind = KINDS[definition(one.definition)["kind"]]
            found |= {
                own(one.name, purpose) for purpose in report.passwords(fleet(name), one, kind)
            }
    if here.application:
        used = definition(topology(name).applications[here.application].definition)
        kind, application = KINDS[used["kind"]], topology(name).applications[here.application]
        watched = report.passwords(fleet(name), application, kind)
        purposes = ("database", salina_secrets.RECORD, *kind.passwords(used), *watched)
        found |= {own(here.application, purpose) for purpose in purposes}
    return found


def secrets(name: str = "default") -> list[str]:
    """The names of all passwords of a fleet."""
    found = topology(name)
    return salina_secrets.passwords(found.applications, [one.name for one in found.copies])
