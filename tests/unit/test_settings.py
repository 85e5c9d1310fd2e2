"""Settings: the defaults are good, and every mistake has its file and its path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salina_fleet.model import settings
from salina_fleet.model.backup import BackupSettings
from salina_fleet.model.settings import Settings, SettingsError
from salina_fleet.roles.database import DatabaseSettings
from salina_fleet.roles.storage import StorageSettings
from salina_fleet.schema import declare
from salina_fleet.schema.document import DataError
from tests.fleets import REPOSITORY


def test_repository_shows_the_defaults() -> None:
    """The values in pillar/settings are the defaults: a comment there never lies."""
    assert settings.load(REPOSITORY / "pillar" / "settings") == Settings()


def test_nothing_given(tmp_path: Path) -> None:
    """No file, an empty file and an empty folder: defaults."""
    (tmp_path / "storage.yaml").write_text("# nothing yet\n")
    assert settings.load(tmp_path) == Settings()
    assert settings.load(tmp_path / "none") == Settings()


def test_measured_values() -> None:
    """S3, S11: The defaults have the values that lost no acknowledged row, and the volume's
    time-out.
    """
    database = Settings()[DatabaseSettings]
    assert (database.ttl, database.loop_wait, database.retry_timeout) == (20, 1, 3)
    assert database.synchronous_mode and database.failsafe_mode and database.check_timeline
    assert Settings()[StorageSettings].ping_timeout == 5


def test_tables_are_added_to() -> None:
    """A parameter that is given joins the defaults, or replaces one."""
    given = {"parameters": {"shared_buffers": "1GB", "jit": False}}
    parameters = settings.parse({"database": given})[DatabaseSettings].parameters
    assert parameters["shared_buffers"] == "1GB"
    assert parameters["jit"] is False
    assert parameters["wal_log_hints"] is True
    assert "jit" not in Settings()[DatabaseSettings].parameters


DIRECTORY = "an absolute path without . and .., outside of the system's own directories"
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "component": (
        {"stroage": {}},
        "stroage.yaml: unknown file; choose one of: storage.yaml, quorum.yaml, database.yaml, "
        "backup.yaml, database_route.yaml, app.yaml, balancer.yaml, monitoring.yaml, "
        "prometheus.yaml, autoscale.yaml, drift.yaml, firewall.yaml, logs.yaml, ssh.yaml, "
        "time.yaml, tls.yaml, updates.yaml",
    ),
    "no mapping": ({"tls": [90]}, "tls.yaml: a list is not valid; must be a mapping"),
    "key": (
        {"tls": {"dais": 9}},
        "tls.yaml: dais: unknown key; choose one of: lifetime, renew, public, acme, ca_days",
    ),
    "number": (
        {"storage": {"ping_timeout": "five"}},
        'storage.yaml: ping_timeout: "five" is not valid; must be a number from 1 to 600',
    ),
    "true is no number": (
        {"storage": {"ping_timeout": True}},
        "storage.yaml: ping_timeout: true is not valid; must be a number from 1 to 600",
    ),
    "too low": (
        {"database": {"ttl": 5}},
        "database.yaml: ttl: 5 is not valid; must be a number from 20 to 3600",
    ),
    "or null": (
        {"app": {"workers": "many"}},
        'app.yaml: workers: "many" is not valid; must be a number from 0 to 256, or null',
    ),
    "not null": (
        {"app": {"upload": None}},
        "app.yaml: upload: empty; must be a size such as 128m, from 1k to 999999m",
    ),
    "no limit of uploads": (
        {"app": {"upload": "0m"}},
        'app.yaml: upload: "0m" is not valid; must be a size such as 128m, from 1k to 999999m',
    ),
    "no limit in other words": (
        {"app": {"upload": "000k"}},
        'app.yaml: upload: "000k" is not valid; must be a size such as 128m, from 1k to 999999m',
    ),
    "flag": (
        {"database": {"synchronous_mode": "on"}},
        'database.yaml: synchronous_mode: "on" is not valid; must be true or false',
    ),
    "flag of a drill": (
        {"backup": {"drill_application": 1}},
        "backup.yaml: drill_application: 1 is not valid; must be true or false",
    ),
    "choice": (
        {"balancer": {"balance": "random"}},
        'balancer.yaml: balance: "random" is not valid; choose one of: roundrobin, leastconn, load',
    ),
    "choice is a list": (
        {"balancer": {"balance": ["roundrobin"]}},
        "balancer.yaml: balance: a list is not valid; choose one of: roundrobin, leastconn, load",
    ),
    "duration": (
        {"balancer": {"inter": "2 seconds"}},
        'balancer.yaml: inter: "2 seconds" is not valid; must be a duration such as 500ms or 5s, '
        "from 1ms to 596h",
    ),
    "duration that HAProxy refuses for a check": (
        {"balancer": {"inter": "0s"}},
        'balancer.yaml: inter: "0s" is not valid; must be a duration such as 500ms or 5s, from '
        "1ms to 596h",
    ),
    "duration beyond HAProxy's 32 bits": (
        {"balancer": {"tunnel": "720h"}},
        'balancer.yaml: tunnel: "720h" is not valid; must be a duration such as 500ms or 5s, from '
        "1ms to 596h",
    ),
    "duration beyond, in minutes": (
        {"balancer": {"slowstart": "35792m"}},
        'balancer.yaml: slowstart: "35792m" is not valid; must be a duration such as 500ms or 5s, '
        "from 0s to 596h",
    ),
    "tries that end before their queries": (
        {"database_route": {"retries": 0}},
        "database_route.yaml: retries: 0 is not valid; must be at least 200, because connect is "
        "300ms and query_wait_timeout is 60",
    ),
    "a CA that ends before a certificate": (
        {"tls": {"lifetime": "90d", "ca_days": 30}},
        "tls.yaml: ca_days: 30 is not valid; must be at least 90, because lifetime is 90d, and the "
        "CA outlives what it signs",
    ),
    "bounds of autoscale": (
        {"autoscale": {"minimum": 9, "maximum": 2}},
        "autoscale.yaml: minimum: 9 is not valid; must be at most maximum: 2",
    ),
    "path": (
        {"storage": {"brick": "nas; rm -rf /"}},
        f'storage.yaml: brick: "nas; rm -rf /" is not valid; must be {DIRECTORY}',
    ),
    "path with a newline": (
        {"storage": {"mount": "/mnt/nas\n"}},
        f'storage.yaml: mount: "/mnt/nas\\n" is not valid; must be {DIRECTORY}',
    ),
    "an option of the command gluster": (
        {"storage": {"options": {"--mode=script": "x"}}},
        'storage.yaml: options."--mode=script": "--mode=script" is not valid; must be the whole '
        "name of an option, such as performance.cache-size",
    ),
    "an option's name with a space": (
        {"storage": {"options": {"a b": 1}}},
        'storage.yaml: options."a b": "a b" is not valid; must be the whole name of an option, '
        "such as performance.cache-size",
    ),
    "an option without a value": (
        {"storage": {"options": {"performance.cache-size": ""}}},
        'storage.yaml: options."performance.cache-size": "" is not valid; must be a plain value',
    ),
    "path that leads elsewhere": (
        {"storage": {"brick": "/nas/../etc"}},
        f'storage.yaml: brick: "/nas/../etc" is not valid; must be {DIRECTORY}',
    ),
    "path of the system": (
        {"storage": {"mount": "/usr/nas"}},
        f'storage.yaml: mount: "/usr/nas" is not valid; must be {DIRECTORY}',
    ),
    "path of many owners": (
        {"backup": {"repository": "/var/lib"}},
        f'backup.yaml: repository: "/var/lib" is not valid; must be {DIRECTORY}',
    ),
    "path inside another one": (
        {"backup": {"files_repository": "/var/lib/pgbackrest/files"}},
        'backup.yaml: files_repository: "/var/lib/pgbackrest/files" is not valid; must be neither '
        "inside nor around repository: /var/lib/pgbackrest",
    ),
    "name": (
        {"storage": {"volume": "--help"}},
        'storage.yaml: volume: "--help" is not valid; must be a name of letters, digits and _',
    ),
    "table": (
        {"storage": {"options": ["a"]}},
        "storage.yaml: options: a list is not valid; must be a mapping of names to plain values",
    ),
    "value in a table": (
        {"storage": {"options": {"nfs.a": 1, "nfs.b": [1]}}},
        'storage.yaml: options."nfs.b": a list is not valid; must be a plain value',
    ),
    "renewal": (
        {"tls": {"lifetime": "20d", "renew": "480h"}},
        'tls.yaml: renew: "480h" is not valid; must be between 1m and lifetime: 20d',
    ),
    "lifetime": (
        {"tls": {"lifetime": "826d"}},
        'tls.yaml: lifetime: "826d" is not valid; must be between 2m and 825d',
    ),
    "memory": (
        {"app": {"limit_memory_soft": 4096}},
        "app.yaml: limit_memory_soft: 4096 is not valid; must be at most limit_memory_hard: 2560",
    ),
    "autoscale": (
        {"autoscale": {"above": 8}},
        "autoscale.yaml: below: 8 is not valid; must be less than above: 8",
    ),
    "election": (
        {"quorum": {"heartbeat_interval": 500}},
        "quorum.yaml: election_timeout: 1000 is not valid; must be at least 5 * "
        "heartbeat_interval: 2500",
    ),
    "clients": (
        {"database_route": {"pool_size": 400}},
        "database_route.yaml: max_clients: 400 is not valid; must be at least pool_size + "
        "postgres_pool_size: 404",
    ),
    "drill": (
        {"backup": {"drill_days": 14}},
        "backup.yaml: drill_days: 14 is not valid; must be less than keep_days: 14",
    ),
    "retention": (
        {"backup": {"keep_days": 5}},
        "backup.yaml: drill_days: 7 is not valid; must be less than keep_days: 5",
    ),
    "lease": (
        {"database": {"retry_timeout": 10}},
        "database.yaml: ttl: 20 is not valid; must be at least loop_wait + 2 * retry_timeout: 21",
    ),
}


@pytest.mark.parametrize(("data", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong(data: dict[str, Any], message: str) -> None:
    """K5: One mistake gives one line with file, path, what was found and what is allowed."""
    with pytest.raises(SettingsError) as caught:
        settings.parse(data)
    assert caught.value.faults == (message,)


@pytest.mark.parametrize(("days", "kept"), [(1, 2), (7, 8), (13, 14), (365, 366)])
def test_a_drill_may_be_a_day_before_the_end_of_a_backup(days: int, kept: int) -> None:
    """O9: The days between two drills may be one less than those for which a backup is kept."""
    parsed = settings.parse({"backup": {"drill_days": days, "keep_days": kept}})[BackupSettings]
    assert (parsed.drill_days, parsed.keep_days) == (days, kept)


def test_k5_files_that_only_look_like_settings(tmp_path: Path) -> None:
    """K5: Nothing of an operator's is passed over in silence, and an editor's backups are."""
    (tmp_path / "storage.yml").write_text("volume: other\n")
    (tmp_path / "app.yaml").write_text("workers: 2\n")
    (tmp_path / "App.YAML").write_text("workers: 3\n")
    (tmp_path / "app.yml").write_text("workers: 3\n")
    (tmp_path / ".#app.yaml").symlink_to("root@salt.4711:1")
    (tmp_path / "tls.yaml").symlink_to("tls.yaml")
    (tmp_path / "ssh.yaml").symlink_to("/unmounted/ssh.yaml")
    os.mkfifo(tmp_path / "time.yaml")
    for backup in ("app.yaml~", "#app.yaml#", ".app.yaml.swp", "app.yaml.orig", "README"):
        (tmp_path / backup).write_text("workers: 4\n")
    with pytest.raises(SettingsError) as caught:
        settings.load(tmp_path)
    names = "a data file's name must end with .yaml"
    assert caught.value.faults == (
        ".#app.yaml: app.yaml has changes in an editor that are not saved; save them, or delete "
        "this file",
        f"App.YAML: {names}; rename it to App.yaml",
        f"app.yml: {names}; move its content to app.yaml",
        f"storage.yml: {names}; rename it to storage.yaml",
        "ssh.yaml: the file cannot be read: it is a link to /unmounted/ssh.yaml, which does not "
        "exist; restore that, or remove the link",
        "time.yaml: the file cannot be read: it is a named pipe; put a regular file in its place",
        "tls.yaml: the file cannot be read: links lead back to themselves; put a regular file in "
        "their place",
    )


def test_k5_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    """K5: It is an error, and never all defaults."""
    (tmp_path / "settings").symlink_to("/unmounted")
    with pytest.raises(DataError, match="the folder cannot be read: it is a link to /unmounted"):
        settings.load(tmp_path / "settings")
    assert settings.load(tmp_path / "none") == Settings()


def test_all_files_together(tmp_path: Path) -> None:
    """K5: The faults of all files are reported at once, YAML's too."""
    (tmp_path / "app.yaml").write_text("workers: -1\nworkers: 2\n")
    (tmp_path / "balancer.yaml").write_bytes(b"\x7fELF\xff")
    (tmp_path / "database.yaml").mkdir()
    (tmp_path / "firewall.yaml").write_text("logging: !secret low\n")
    (tmp_path / "quorum.yaml").write_text("a: [\n")
    (tmp_path / "tls.yaml").write_text("lifetime: 1\n")
    (tmp_path / "tsl.yaml").write_text("lifetime: 1\n")
    with pytest.raises(SettingsError) as caught:
        settings.load(tmp_path)
    names = ", ".join(f"{name}.yaml" for name in settings.COMPONENTS)
    assert caught.value.faults == (
        "app.yaml: workers: is given twice (lines 1 and 2); remove one",
        "balancer.yaml: the file is not text in UTF-8; save it as UTF-8",
        "database.yaml: the file cannot be read: it is a directory; put a regular file in its "
        "place",
        'firewall.yaml: line 1: the tag "!secret" is not allowed; write a plain value',
        "quorum.yaml: line 2: the file is not YAML: expected the node content, "
        "but found '<stream end>'",
        f"tsl.yaml: unknown file; choose one of: {names}",
        "app.yaml: workers: -1 is not valid; must be a number from 0 to 256, or null",
        "tls.yaml: lifetime: 1 is not valid; must be a duration such as 90d, 12h or 30m",
    )


@pytest.mark.parametrize("duration", ["1ms", "596h", "35791m", "999999s", "999999ms"])
def test_k5_the_durations_that_haproxy_takes(duration: str) -> None:
    """K5: HAProxy 2.6 accepts the ends of the range (tried with `haproxy -c`), and 0s to start."""
    given = {"balancer": {"inter": duration, "tunnel": duration, "slowstart": "0s"}}
    assert settings.parse(given)


@pytest.mark.parametrize(
    ("duration", "seconds"), [("500ms", 0.5), ("2s", 2), ("3m", 180), ("1h", 3600), ("2d", 172_800)]
)
def test_seconds(duration: str, seconds: float) -> None:
    assert declare.seconds(duration) == seconds


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())
)
keys = st.sampled_from([name for kind in settings.COMPONENTS.values() for name in vars(kind)])


@given(
    st.dictionaries(
        st.sampled_from([*settings.COMPONENTS, "other"]),
        st.one_of(values, st.dictionaries(st.one_of(keys, st.text()), values)),
    )
)
def test_any_data(data: dict[str, object]) -> None:
    """Whatever is given: settings, or a SettingsError."""
    try:
        settings.parse(data)
    except SettingsError as error:
        assert error.faults
        assert all(fault.isprintable() for fault in error.faults)
