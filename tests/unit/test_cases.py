"""Whole files that were accepted once and failed later: each has one line before any change.

The inputs are one step away from the repository's own files. Each kind of value has
tests of its own; here `salina_fleet.site`, which the master asks, judges everything together.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from salina_fleet.site import SiteError, read
from tests import fleets

ROUTE = "pillar/settings/database_route.yaml"
TOPOLOGY, ODOO, CRM = (
    "pillar/topology.yaml",
    "pillar/app/odoo-14.0.yaml",
    "pillar/app/crm-2017.yaml",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with nothing but data, and with locks that are soon read."""
    found = tmp_path_factory.mktemp("cases")
    shutil.copytree(fleets.REPOSITORY / "pillar", found / "pillar")
    locks = found / "salt/locks"
    locks.mkdir(parents=True)
    (locks / "odoo-14.0.txt").write_text("--only-binary :all:\n")
    (locks / "crm-2017.json").write_text("{}")
    return found


@pytest.fixture
def judged(root: Path) -> Iterator[list[Path]]:
    """The files that a test changes; they are as before after it."""
    changed: list[Path] = []
    yield changed
    for file in changed:
        shutil.copy(fleets.REPOSITORY / file.relative_to(root), file)


SETTINGS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "autoscale: a pool that does not exist": (
        "autoscale",
        "pool: web-1",
        ('pool: "web-1" is not a pool of app hosts',),
    ),
    "autoscale: least above most": (
        "autoscale",
        "{enabled: true, minimum: 9, maximum: 2}",
        ("minimum: 9 is not valid; must be at most maximum: 2",),
    ),
    "balancer: an octal number": ("balancer", "hsts: 010", ("hsts: 010 (8 in YAML) is not valid",)),
    "balancer: a check without a pause": ("balancer", "inter: 0s", ('inter: "0s" is not valid',)),
    "balancer: beyond 32 bits": ("balancer", "tunnel: 720h", ('tunnel: "720h" is not valid',)),
    "database: parameters": (
        "database",
        "parameters: {'max-connections': 400, MAX_CONNECTIONS: 400, '': 1, work_mem: .nan, "
        "max_wal_senders: abc}",
        (
            "parameters.max-connections: unknown parameter of PostgreSQL 15, 16 and 17; choose",
            "parameters.MAX_CONNECTIONS: unknown parameter of PostgreSQL 15, 16 and 17; choose",
            'parameters."": unknown parameter of PostgreSQL 15, 16 and 17; see',
            "parameters.work_mem: nan is not valid",
            'parameters.max_wal_senders: "abc" is not valid; must be a number from 0 to 262143',
        ),
    ),
    "database: values with which PostgreSQL does not start": (
        "database",
        "parameters: {min_wal_size: 16MB, max_wal_size: 16MB, timezone: Europe/Madridd, "
        "datestyle: foo, log_destination: 'stderr, foo', log_line_prefix: \"%m \\n\", "
        'pg_stat_statements.track: "a\\nb", log_parser_stats: true, log_statement_stats: true}',
        (
            'parameters.min_wal_size: "16MB" is not valid; must be at least 32MB',
            'parameters.max_wal_size: "16MB" is not valid; must be at least 32MB',
            'parameters.timezone: "Europe/Madridd" is not valid; must be the name of a time zone',
            'parameters.datestyle: "foo" is not valid; must be such as',
            'parameters.log_destination: "stderr, foo" is not valid; must be stderr, csvlog',
            'parameters.log_line_prefix: "%m \\n" is not valid; must be one line of text',
            'parameters."pg_stat_statements.track": "a\\nb" is not valid; must be one line of text',
        ),
    ),
    "database: two ways to measure the same": (
        "database",
        "parameters: {log_parser_stats: true, log_statement_stats: true}",
        ("parameters.log_parser_stats: it is part of log_statement_stats; remove one",),
    ),
    "database: values that Patroni replaces": (
        "database",
        "parameters: {hot_standby: false, wal_level: minimal, max_wal_senders: 2, "
        "max_locks_per_transaction: 16, wal_keep_size: 0}",
        (
            "parameters.hot_standby: Salina or Patroni sets this parameter; remove it",
            'parameters.wal_level: "minimal" is not valid; must be replica or logical',
            "parameters.max_wal_senders: 2 is not valid; must be at least 3",
            "parameters.max_locks_per_transaction: 16 is not valid; must be at least 32",
            "parameters.wal_keep_size: 0 is not valid; must be at least 16MB",
        ),
    ),
    "monitoring: a port behind a name": (
        "monitoring",
        "relay: mail.example.com:587",
        ('relay: "mail.example.com:587" is not valid; must be a host name or an address, without',),
    ),
    "time: a name that DNS cannot have": (
        "time",
        "servers: ['ntp.example.com:123', a..b, 10.1.5.256]",
        tuple(
            f'servers[{place}]: "{name}" is not valid; must be an address or a name'
            for place, name in enumerate(("ntp.example.com:123", "a..b", "10.1.5.256"))
        ),
    ),
    "storage: a directory of users": ("storage", "mount: /home/nas", ('mount: "/home/nas" is',)),
    "database: one port twice": (
        "database",
        "port: 8008",
        ("rest_port: 8008 is used by PostgreSQL (pillar/settings/database.yaml: port) on bbdd1",),
    ),
    "database: a version that no host can install": (
        "database",
        "version: 16",
        ("version: 16 is not valid; must be 15",),
    ),
    "database_route: one port twice": (
        "database_route",
        "listen: 6432",
        (f"pool_port: 6432 is used by the database route ({ROUTE}: listen) on s1",),
    ),
    "database_route: no retries": (
        "database_route",
        "retries: 0",
        ("retries: 0 is not valid; must be at least 200",),
    ),
    "storage: a brick in /etc": (
        "storage",
        "brick: /nas/../etc",
        ('brick: "/nas/../etc" is not valid',),
    ),
    "storage: the mount is the brick": (
        "storage",
        "{brick: /nas, mount: /nas}",
        ('mount: "/nas" is not valid; must be neither inside nor around brick: /nas',),
    ),
    "storage: options of a command": (
        "storage",
        "options: {'--mode=script': x, 'a b': 1}",
        ('options."--mode=script": "--mode=script" is not', 'options."a b": "a b" is not valid'),
    ),
    "storage: a volume that is a boolean": (
        "storage",
        "volume: 'no'",
        ('volume: "no" is not valid, because YAML or the resolver reads this name',),
    ),
    "tls: a CA that ends first": (
        "tls",
        "{lifetime: 60d, ca_days: 30}",
        ("ca_days: 30 is not valid; must be at least 60",),
    ),
}

TEXTS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "half a character": (
        CRM,
        "  environment: {",
        '  environment: {A: "\\ud800", ',
        ("node.environment.A: the text has the character U+D800, which no file can hold",),
    ),
    "scratch above uploads": (
        CRM,
        "scratch: [uploads]",
        "scratch: [public]",
        (
            'node.scratch[0]: "public" is not valid; must be neither inside nor around uploads[0]: '
            "public/uploads",
        ),
    ),
    "odoo.conf is /etc/passwd": (
        ODOO,
        "\nodoo:\n",
        "\nodoo:\n  configuration: /etc/passwd\n",
        ('odoo.configuration: "/etc/passwd" is not valid; must be a file NAME.conf in /etc/odoo',),
    ),
    "long requests everywhere": (
        ODOO,
        "path: /longpolling",
        "path: /",
        ('live.path: "/" is not valid; must be a path below / such as /websocket',),
    ),
    "one port for both": (
        ODOO,
        "port: 8072",
        "port: 8069",
        ("live.port: 8069 is not valid; must be another port than port: 8069",),
    ),
    "a lock that does not exist": (
        ODOO,
        "lock: odoo-14.0 ",
        "lock: nosuch ",
        ('odoo.python.lock: "nosuch" is not a lock of salt/locks; choose one of: odoo-14.0',),
    ),
    "no long requests": (
        ODOO,
        "live: {path: /longpolling, port: 8072}",
        "",
        ("live: missing; must be a mapping such as {path: /websocket, port: 8072} with kind odoo",),
    ),
    "nginx's own port": (ODOO, "port: 8069", "port: 80", ("port: 80 is used by nginx on s1",)),
    "an open group": (ODOO, "static: ^/[^/]+/static/", "static: ^/(", ('static: "^/(" is not a',)),
    "two backslashes, of which nginx makes one": (
        ODOO,
        "static: ^/[^/]+/static/",
        "static: '^/a\\\\'",
        ('static: "^/a\\\\\\\\" has ',),
    ),
    "odoo.conf where Odoo does not see it": (
        ODOO,
        "\nodoo:\n",
        "\nodoo:\n  configuration: /home/odoo/odoo.conf\n",
        ('odoo.configuration: "/home/odoo/odoo.conf" is not valid; must be a file NAME.conf',),
    ),
    "an option with two lines": (
        ODOO,
        "options: {without_demo: all}",
        'options: {without_demo: "all\\rx"}',
        ('odoo.options.without_demo: "all\\rx" is not valid; must be one line of text',),
    ),
    "a variable before the program": (
        CRM,
        "start: [node,",
        "start: [NODE_ENV=production, node,",
        ('node.start[0]: "NODE_ENV=production" is not valid; must be the program; variables',),
    ),
    "an application with a word of HAProxy": (
        TOPOLOGY,
        "  crm:\n",
        "  or:\n",
        ('applications.or: "or" is reserved',),
    ),
    "a domain of a certificate": (
        TOPOLOGY,
        "domain: crm.example",
        "domain: database",
        ('applications.crm.domain: "database" is reserved',),
    ),
    "a port in base 60": (
        TOPOLOGY,
        "http: 80",
        "http: 1:20",
        ("service.http: 1:20 (80 in YAML) is not valid",),
    ),
    "an id that is a boolean": (
        TOPOLOGY,
        "  nas1:",
        '  "no":',
        ('hosts.no: "no" is not valid, because YAML or the resolver reads this name',),
    ),
    "an id that means no host": (
        TOPOLOGY,
        "  bbdd2:",
        "  nobody:",
        ('hosts.nobody: "nobody" is reserved',),
    ),
    "a network with a zone": (
        TOPOLOGY,
        "management: 10.1.5.0/24",
        'management: "fd00:5::%eth0; x/64"',
        ('networks.management: "fd00:5::%eth0; x/64" is not valid; must be a network such as',),
    ),
}


@pytest.mark.parametrize(("name", "text", "faults"), SETTINGS.values(), ids=SETTINGS.keys())
def test_k5_settings(
    root: Path, judged: list[Path], tmp_path: Path, name: str, text: str, faults: tuple[str, ...]
) -> None:
    """K5: The file of settings is refused, with every fault of this kind."""
    file = root / f"pillar/settings/{name}.yaml"
    judged.append(file)
    file.write_text(text)
    refused(root, tmp_path, f"pillar/settings/{name}.yaml", faults)


@pytest.mark.parametrize(("name", "old", "new", "faults"), TEXTS.values(), ids=TEXTS.keys())
def test_k5_definitions_and_topologies(
    root: Path,
    judged: list[Path],
    tmp_path: Path,
    name: str,
    old: str,
    new: str,
    faults: tuple[str, ...],
) -> None:
    """K5: The file is refused with a line that says where, what was found and what is allowed."""
    file, topology = root / name, root / TOPOLOGY
    judged += [file, topology]
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    if name == CRM:
        topology.write_text(topology.read_text().replace("odoo-14.0 ", "crm-2017 "))
    refused(root, tmp_path, name, faults)


@pytest.mark.parametrize(
    ("name", "text"),
    [("balancer", "hsts: 0"), ("firewall", "logging: off"), ("balancer", "slowstart: 0s")],
)
def test_k5_what_looks_odd_and_works(
    root: Path, judged: list[Path], tmp_path: Path, name: str, text: str
) -> None:
    """K5: 0 tells browsers to stop insisting on HTTPS, and `off` is a word of ufw."""
    file = root / f"pillar/settings/{name}.yaml"
    judged.append(file)
    file.write_text(text)
    assert read(root, tmp_path).fleet


def refused(root: Path, state: Path, name: str, faults: tuple[str, ...]) -> None:
    """Check that there are these faults and no others, each of the file and with its beginning."""
    with pytest.raises(SiteError) as caught:
        read(root, state)
    found = caught.value.faults
    assert len(found) == len(faults), found
    for line, beginning in zip(found, faults, strict=True):
        assert line.startswith(f"{name}: {beginning}"), line
