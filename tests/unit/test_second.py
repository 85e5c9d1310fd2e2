"""The second repository: what is sent in which order, what is refused, and how it comes back.

rclone is real in the last part, if this machine has it.
"""

from __future__ import annotations

import base64
import getpass
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from salt.exceptions import CommandExecutionError

from salina.backup import rclone, second
from salina.backup.second import MARK, AwayError, Part, Place, Rclone, SecondError
from salina.common import wait
from salina.health import probes
from salina_fleet import backup, runner, secrets
from salina_fleet.errors import RunnerError
from salina_fleet.model import settings
from salina_fleet.model.backup import BackupSettings
from tests import fleets, object_store
from tests.loading import load, never, refusing

KEY = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"k" * 32
HOST_KEY = f"ssh-ed25519 {base64.b64encode(KEY).decode()}"
SFTP = {
    "kind": "sftp",
    "host": "198.51.100.9",
    "port": 2022,
    "user": "salina",
    "path": "/srv/salina",
    "host_keys": [f"{HOST_KEY} root@other"],
}
S3 = {
    "kind": "s3",
    "endpoint": "https://s3.example.com",
    "region": "eu-central-1",
    "bucket": "backups",
    "path": "/salina",
}


# The settings


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("yes", 'second: "yes" is not valid; must be a mapping, or null'),
        (S3 | {"kind": "ftp"}, 'second.kind: "ftp" is not valid; choose one of: s3, sftp'),
        (
            S3 | {"endpoint": "http://s3.example.com"},
            'second.endpoint: "http://s3.example.com" is not valid; must be a URL such as '
            "https://s3.example.com",
        ),
        (
            S3 | {"endpoint": "https://s3.example.com:70000"},
            'second.endpoint: "https://s3.example.com:70000" is not valid; must be a URL such as '
            "https://s3.example.com:8443, with a port up to 65535",
        ),
        (S3 | {"path": "salina"}, 'second.path: "salina" is not valid; must be an absolute path'),
        (
            S3 | {"minutes": 1},
            "second.minutes: 1 is not valid; must be a number from 5 to 1440",
        ),
        (
            S3 | {"host": "nas"},
            "second.host: unknown key; choose one of: kind, path, minutes, endpoint, region, "
            "bucket",
        ),
        (
            SFTP | {"host_keys": ["ssh-ed25519 AAAA"]},
            'second.host_keys[0]: "ssh-ed25519 AAAA" is not valid; must be a public key such as '
            "ssh-ed25519 AAAA…",
        ),
        (
            SFTP | {"host_keys": []},
            "second.host_keys: an empty list is not valid; must be a list of one or more items, "
            "each a public key such as ssh-ed25519 AAAA…",
        ),
        (
            {key: value for key, value in SFTP.items() if key != "port"},
            "second.port: missing; must be a number from 1 to 65535",
        ),
    ],
)
def test_o9_a_wrong_place_is_one_clear_fault(given: Any, fault: str) -> None:
    """O9: Each wrong value is named with its path."""
    with pytest.raises(settings.SettingsError) as raised:
        settings.parse({"backup": {"second": given}})
    assert [*raised.value.faults] == [f"backup.yaml: {fault}"]


def configured(given: Mapping[str, Any]) -> settings.Settings:
    """Return the repository's settings with a second repository."""
    own = settings.parse({"backup": {"second": given}})[BackupSettings].second
    repository = fleets.settings()
    return repository.but(replace(repository[BackupSettings], second=own))


def section(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section of the backup host's pillar."""
    found: dict[str, Any] = fleets.pillar("bkp1", own=configured(given))["second_repository"]
    return found


def test_o9_s6_only_the_backup_host_gets_the_login() -> None:
    """O9, S6: No other host has it in its pillar, and without the setting no host has."""
    own = configured(SFTP)
    for host in fleets.fleet().hosts:
        text = json.dumps(fleets.pillar(host, own=own))
        assert ("canary-second-sftp" in text) is (host == "bkp1")
    assert fleets.pillar("bkp1")["second_repository"] is None


def test_o9_every_repository_has_its_place() -> None:
    """O9: pgBackRest's, those of users' files, and the copies of the master's state."""
    assert section(SFTP)["parts"] == [
        {
            "name": "pgbackrest",
            "kind": "pgbackrest",
            "directory": "/var/lib/pgbackrest",
            "owner": "postgres",
        },
        {
            "name": "restic/crm",
            "kind": "restic",
            "directory": "/var/lib/restic/crm",
            "owner": "restic",
        },
        {
            "name": "master",
            "kind": "master",
            "directory": "/var/lib/salina-master",
            "owner": "root",
        },
    ]


@pytest.mark.parametrize(
    ("given", "port"), [(SFTP, 2022), (S3, None), (S3 | {"endpoint": "https://s3.x:8443"}, 8443)]
)
def test_o9_the_backup_host_must_get_to_the_place(
    given: Mapping[str, Any], port: int | None
) -> None:
    """O9, X7: Without an entry of `egress` the settings are refused, with the entry."""
    whole, topology = configured(given), fleets.topology()
    kind = settings.COMPONENTS["firewall"]
    faults = list(whole[kind].conflicts(topology, whole, fleets.definitions(topology)))
    place = given.get("host") or given["endpoint"]
    wanted = (
        "egress",
        f"bkp1 cannot reach {place} (pillar/settings/backup.yaml) at port {port}; "
        f"add {{role: backup, ports: {port}}}",
    )
    assert faults == ([wanted] if port else [])


# The login


OPENSSH, PKCS8 = serialization.PrivateFormat.OpenSSH, serialization.PrivateFormat.PKCS8
CLOSED = serialization.BestAvailableEncryption(b"password")


def pem(
    form: serialization.PrivateFormat = OPENSSH,
    closed: serialization.KeySerializationEncryption | None = None,
) -> bytes:
    """Return a new private key."""
    given = (serialization.Encoding.PEM, form, closed or serialization.NoEncryption())
    return ed25519.Ed25519PrivateKey.generate().private_bytes(*given)


def test_o9_k4_a_login_is_checked_and_never_shown() -> None:
    """O9, K4: The message of a refusal has nothing of the file."""
    for key in (pem(), pem(PKCS8)):
        assert secrets.login("sftp", key) == key.decode().strip()
    assert secrets.login("s3", b"AKIA\nse/cr+et\n") == "AKIA\nse/cr+et"
    refused = [("sftp", b"se/cr+et"), ("s3", b"se/cr+et"), ("s3", b"a\nb\nse/cr+et")]
    for kind, written in (*refused, ("s3", b"\xff\xfe"), ("sftp", pem(PKCS8, CLOSED))):
        with pytest.raises(secrets.SecretsError) as raised:
            secrets.login(kind, written)
        assert str(raised.value).startswith("must be ") and "se/cr+et" not in str(raised.value)


def test_o9_the_runner_takes_a_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """O9, K4: It is kept with the secrets, closed to others, and a newer one replaces it."""
    store = secrets.open_store(tmp_path)
    secrets.create(store, ["crm"], 3650)
    fleet = replace(fleets.fleet(), settings=configured(SFTP))
    site = SimpleNamespace(store=store, fleet=fleet, definitions={})
    monkeypatch.setattr(runner, "site", lambda _: site)
    called: Any = load("_runners/secrets.py", opts={})
    missing = "secret second-sftp does not exist in .*: salt-run secrets.second FILE keeps yours"
    with pytest.raises(RunnerError, match=missing):
        called.check()
    for _ in range(2):
        file = tmp_path / "key"
        file.write_bytes(pem())
        said = called.second(str(file))
        assert said == "second-sftp is kept with the secrets\nnext: salt bkp1 state.apply"
        assert store.get("second-sftp") == file.read_text().strip()
    assert store.path("second-sftp").stat().st_mode & 0o777 == 0o600
    assert called.check().startswith("all secrets are in")
    file.write_text("other")
    with pytest.raises(RunnerError, match="key: must be a private key"):
        called.second(str(file))
    with pytest.raises(RunnerError, match="absent: No such file or directory"):
        called.second(str(tmp_path / "absent"))
    site.fleet = fleets.fleet()
    with pytest.raises(RunnerError, match="second: is null; name the place first"):
        called.second(str(file))


# rclone's configuration


def test_o9_rclone_knows_an_object_store() -> None:
    """O9: Its login may not create the bucket, so nobody tries."""
    given = section(S3) | {"secret": "AKIA\nse/cr+et"}
    assert rclone.configuration(given).splitlines()[1:] == [
        "[second]",
        "type = s3",
        "provider = Other",
        "endpoint = https://s3.example.com",
        "region = eu-central-1",
        "access_key_id = AKIA",
        "secret_access_key = se/cr+et",
        "no_check_bucket = true",
    ]
    words = "backups/salina at https://s3.example.com"
    assert rclone.place(given) == Place("second:backups", "second:backups/salina", words)


def test_o9_rclone_knows_the_other_host_by_its_keys() -> None:
    """O9: No key is trusted because it was seen first."""
    given = section(SFTP) | {"secret": "a\nb"}
    assert "\nkey_pem = a\\nb\n" in rclone.configuration(given)
    assert rclone.known_hosts(given).splitlines()[1:] == [f"[198.51.100.9]:2022 {HOST_KEY}"]
    assert f"\n198.51.100.9 {HOST_KEY}\n" in rclone.known_hosts(given | {"port": 22})
    words = "/srv/salina on 198.51.100.9"
    assert rclone.place(given) == Place("second:/srv/salina", "second:/srv/salina", words)


# Plans

LABEL = "backup/salina/20261128-030000F"
NEWER = "backup/salina/20261129-030000F"
WAL = "archive/salina/15-1/0000000100000000/000000010000000000000001-abc.zst"
INFO = [
    f"{kind}/salina/{kind}.info{end}" for kind in ("archive", "backup") for end in ("", ".copy")
]
PGBACKREST = [*INFO, WAL, f"{LABEL}/backup.manifest", f"{LABEL}/pg_data/base/1/2.zst"]
RESTIC = ["config", "keys/k", "data/ab/abc", "index/i", "snapshots/s"]


def test_o9_what_names_others_goes_last_and_is_deleted_first() -> None:
    """O9: A run that is killed at any moment leaves names of files that are there."""
    sizes = dict.fromkeys(PGBACKREST, 5)
    plan = second.plan("pgbackrest", sizes, {})
    assert plan.send == (
        (WAL, f"{LABEL}/backup.manifest", f"{LABEL}/pg_data/base/1/2.zst"),
        (),
        (INFO[0], INFO[2]),
        (INFO[1], INFO[3]),
    )
    files = dict.fromkeys(RESTIC, 5)
    assert second.plan("restic", files, {}).send == (
        ("data/ab/abc", "keys/k"),
        ("index/i",),
        ("snapshots/s",),
        ("config",),
    )
    gone = dict.fromkeys(["data/0", "index/0", "snapshots/0"], 5)
    assert second.plan("restic", files, files | gone).delete == (
        (),
        ("snapshots/0",),
        ("index/0",),
        ("data/0",),
    )


def test_o9_only_what_differs_is_sent() -> None:
    """O9: Files are written once, so a size is enough; but not for pgBackRest's info files."""
    sizes = dict.fromkeys(PGBACKREST, 5)
    plan = second.plan("pgbackrest", sizes, sizes | {WAL: 4, MARK: 33})
    assert plan.send == ((WAL,), (), (INFO[0], INFO[2]), (INFO[1], INFO[3]))
    assert plan.delete == ((), (), (), ())


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("restic", "locks/l"),
        ("restic", MARK),
        ("master", MARK),
        ("pgbackrest", second.FETCHING),
        ("pgbackrest", f"{LABEL}/pg_data/x.zst.pgbackrest.tmp"),
    ],
)
def test_o9_some_files_are_never_sent(kind: str, path: str) -> None:
    """O9: Locks, marks and unfinished files do not belong to a mirror."""
    assert second.rank(kind, path) is None


def test_o9_a_backup_that_is_being_made_waits() -> None:
    """O9: Without its manifest a backup may still change."""
    begun = ["backup/salina/20261129-030000F/backup.manifest.copy"]
    history = ["backup/salina/backup.history/2026/20261128-030000F.manifest.zst"]
    assert second.complete([*PGBACKREST, *begun, *history]) == [*PGBACKREST, *history]


def test_o9_heads_that_changed_are_noticed() -> None:
    """O9: A new snapshot does no harm; a deleted one, or other content, may."""
    before = {"a": b"1", "b": b"2"}
    assert second.same(before, before | {"c": b""})
    assert not second.same(before, {"a": b"1"})
    assert not second.same(before, {"a": b"1", "b": b"3"})


MARKED = f"{MARK}.a"
"""The name of a mirror's mark."""


@pytest.mark.parametrize(
    ("kind", "known", "here", "there", "said"),
    [
        ("restic", "", RESTIC, [], "it is not ready; apply the states of this host"),
        ("restic", "a", RESTIC[1:], [MARKED, *RESTIC], "config not found"),
        ("restic", "a", [], [MARKED, *RESTIC], "config not found"),
        ("restic", "a", RESTIC[:2], [MARKED, *RESTIC], "all data and index and snapshots are gone"),
        ("pgbackrest", "a", [WAL], [MARKED, *PGBACKREST], "archive.info and backup.info not found"),
        ("pgbackrest", "a", [], [MARKED], "archive.info and backup.info not found"),
        ("pgbackrest", "a", [*INFO, WAL], [MARKED, *PGBACKREST], "all backups are gone"),
        ("pgbackrest", "a", INFO, [MARKED, *PGBACKREST], "all WAL and backups are gone"),
        ("master", "a", [], [MARKED, "x.age"], "all copies are gone"),
        ("master", "b", ["x.age"], [MARKED], "the last mirror is that of another host, or of a "),
        ("master", "b", ["x.age"], [MARKED, f"{MARK}.b"], "the last mirror is that of another "),
        ("master", "a", ["x.age"], ["y"], "the place has files of another repository"),
    ],
)
def test_o9_a_repository_that_looks_wrong_is_refused(
    kind: str, known: str, here: Sequence[str], there: Sequence[str], said: str
) -> None:
    """O9: The good mirror stays as it is."""
    assert second.refusal(kind, known, here, there).startswith(said)


def test_o9_a_new_place_and_a_known_one_are_taken() -> None:
    """O9: A run that was killed while the mark changed goes on, with either mark or with both."""
    assert second.refusal("pgbackrest", "a", PGBACKREST, []) == ""
    assert second.refusal("master", "a", [], []) == ""
    for there in ([MARKED], [f"{MARK}.b"], [MARKED, f"{MARK}.b"]):
        assert second.refusal("pgbackrest", "ab", PGBACKREST, [*there, WAL]) == ""


def test_o9_a_copy_of_an_info_file_is_enough() -> None:
    """O9: pgBackRest reads it as well, so its mirror does not look empty."""
    assert second.damage("pgbackrest", [INFO[1], INFO[3]]) == ""
    assert second.damage("pgbackrest", [INFO[1]]) == "backup.info not found"


# The module, the state, and the status


def module(given: Mapping[str, Any] | None = SFTP, **salt: Any) -> Any:
    """Load the execution module of a backup host."""
    pillar = {"backup": {}, "second_repository": section(given) if given else None}
    opts = {"id": "bkp1"}
    return load("_modules/second_repository.py", salt=salt, pillar=pillar, opts=opts)


def test_o9_the_record_of_another_place_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9: A new place has no mirror yet, from the moment that it was set."""
    monkeypatch.setattr(second, "RECORD", str(tmp_path / "record.json"))
    monkeypatch.setattr(second, "SETTINGS", str(tmp_path / "settings"))
    with pytest.raises(CommandExecutionError, match="not set up yet; next: salt bkp1 state"):
        module().state()
    at = put(tmp_path / "settings", "").stat().st_mtime
    for record in ({"began": 5}, {"place": "/srv/other on 198.51.100.9", "began": 5}):
        put(tmp_path / "record.json", json.dumps(record))
        assert (module().state()["record"], module().state()["since"]) == ({}, at)
    put(tmp_path / "record.json", json.dumps({"place": module().state()["place"], "began": 5}))
    assert module().state()["since"] == 5


def test_o9_an_operator_declares_the_right_host() -> None:
    """O9: The id is confirmed, because the next mirror deletes what this host does not have."""
    with pytest.raises(CommandExecutionError, match="confirm: 'bkp2' is not this host"):
        module().claim("bkp2")


def test_o9_all_settings_are_in_one_file() -> None:
    """O9: A run, which reads it once, has the login of one place and not the path of another."""
    place, parts, _ = second.read(json.loads(module().settings_file()))
    assert place == rclone.place(section(SFTP))
    assert [part.name for part in parts] == ["pgbackrest", "restic/crm", "master"]


def test_o9_a_mirror_that_began_before_is_not_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9: A start of a unit that runs already only waits for its end."""
    monkeypatch.setattr(second, "RECORD", str(tmp_path / "record.json"))
    monkeypatch.setattr(second, "SETTINGS", str(put(tmp_path / "settings", "")))
    began = iter([10.0, 200.0])
    started: list[str] = []

    def start(unit: str, **_: Any) -> bool:
        started.append(unit)
        place = "/srv/salina on 198.51.100.9"
        record = {"place": place, "began": next(began), "ended": 210.0, "files": 3, "bytes": 2048}
        (tmp_path / "record.json").write_text(json.dumps(record))
        return True

    def shown(argv: Sequence[str], **_: Any) -> dict[str, Any]:
        said = "activating\n" if "show" in argv else "no route"
        return {"retcode": 0, "stdout": said, "stderr": ""}

    found = module(**{"service.start": start, "cmd.run_all": shown})
    monkeypatch.setattr(found, "time", SimpleNamespace(time=lambda: 100.0))
    answer = found.mirror()
    assert started == ["salina-second.service"] * 2
    assert (answer["place"], answer["since"]) == ("/srv/salina on 198.51.100.9", 200.0)
    failing = module(**{"service.start": lambda *_, **__: True, "cmd.run_all": shown})
    monkeypatch.setattr(failing, "time", SimpleNamespace(time=lambda: 300.0))
    with pytest.raises(CommandExecutionError, match="the mirror failed\nno route"):
        failing.mirror()
    with pytest.raises(CommandExecutionError, match="has no second repository"):
        module(None).mirror()


def state(test: bool, exists: bool = True, **answers: Any) -> dict[str, Any]:
    """Run the state with these answers of the module."""
    salt = {f"second_repository.{name}": answer for name, answer in answers.items()}
    salt["file.file_exists"] = lambda _: exists
    loaded: Any = load("_states/second_repository.py", salt=salt, opts={"test": test})
    found: dict[str, Any] = loaded.fetched("backups")
    return found


def test_o9_the_state_brings_back_what_is_lost() -> None:
    """O9: It predicts, acts, and asks nobody when all is here."""
    lost = ["/var/lib/pgbackrest"]
    done = state(False, unmarked=lambda: lost, lost=lambda: lost, fetch=lambda: None)
    assert (done["result"], done["changes"]) == (True, {"brought back": lost})
    told = state(True, unmarked=lambda: lost, lost=lambda: lost, fetch=never)
    assert (told["result"], told["changes"]) == (None, {"brought back": lost})
    new = state(False, unmarked=lambda: lost, lost=lambda: [], fetch=lambda: None)
    assert (new["result"], new["changes"]) == (True, {"new": lost})
    here = state(False, unmarked=lambda: [], lost=never, fetch=never)
    assert (here["result"], here["changes"]) == (True, {})
    bare = state(True, exists=False, unmarked=lambda: lost, lost=never, fetch=never)
    assert bare["note"] and not bare["changes"]


@pytest.mark.parametrize("test", [False, True])
def test_o9_a_place_that_does_not_answer_fails_the_state(test: bool) -> None:
    """O9: So no empty repository begins in place of the lost one."""
    lost = ["/var/lib/pgbackrest"]
    found = state(test, unmarked=lambda: lost, lost=refusing("no route"), fetch=never)
    assert (found["result"], found["comment"]) == (False, "no route")


MIRROR: dict[str, Any] = {
    "compared": {},
    "place": "/srv/salina on nas",
    "since": 1000,
    "minutes": 60,
    "record": {"began": 1000, "ended": 1600, "files": 12, "bytes": 3 * 2**20},
}
FOUND = {
    "backups": [{"label": "l", "end": 0}],
    "now": 1000 + 12 * 60,
    "age": 60,
    "window": 0,
    "drill": {},
}


def test_o9_the_status_has_the_second_repository() -> None:
    """O9: Its place and its age, and after four missing mirrors it is late."""
    told = "/srv/salina on nas, 12 min ago, 12 files, 3.0 MiB"
    assert backup.mirrored(MIRROR, FOUND["now"]) == told
    compared = {"files": 9, "bytes": 5, "ended": FOUND["now"] - 3600, "damaged": []}
    seen = MIRROR | {"compared": compared}
    assert backup.mirrored(seen, FOUND["now"]) == f"{told}; 9 of them were compared 1 h 0 min ago"
    worse = MIRROR | {"compared": compared | {"damaged": ["restic/crm/data/ab/abc"]}}
    assert backup.late({**FOUND, "second": worse}, 7, 15) == [
        "damaged at the second place: restic/crm/data/ab/abc; delete it there; next: salt-run "
        "backup.mirror; salt-run backup.compare"
    ]
    unread = "late: a comparison of the second repository; salt-run backup.compare"
    for ended, late in ((9, []), (10, [unread])):
        old = {"set": FOUND["now"], "compared": compared | {"ended": FOUND["now"] - ended * 86_399}}
        assert backup.late({**FOUND, "second": MIRROR | old}, 7, 15) == late
    never = {**FOUND, "second": MIRROR | {"set": FOUND["now"] - 10 * 86_400}}
    assert backup.late(never, 7, 15) == [unread]
    none = backup.mirrored(MIRROR | {"record": {}}, FOUND["now"])
    assert none == "/srv/salina on nas, no mirror yet"
    assert backup.late({**FOUND, "second": MIRROR}, 7, 15) == []
    fault = {"fault": "bkp1: not set up yet"}
    assert backup.late({**FOUND, "second": fault}, 7, 15) == [
        "second repository: bkp1: not set up yet"
    ]
    later = {**FOUND, "second": MIRROR, "now": 1000 + 4 * 3600 + 1}
    assert backup.late(later, 7, 15) == [
        "late: the second repository; see journalctl -u salina-second on its host"
    ]


def test_o9_health_judges_the_age_of_the_last_mirror(tmp_path: Path) -> None:
    """O9: Before the first one, the place has as much time from the moment that it was set."""
    record, own = tmp_path / "record.json", tmp_path / "settings"

    def probed() -> list[Any]:
        found = probes.second_repository(str(record), str(own), 240, str(tmp_path / "none"), 9)
        return [one for one in found if one[0] == "second repository"]

    bare = "not set up yet; apply the states of this host"
    assert probed() == [("second repository", False, bare)]
    put(own, json.dumps({"place": {"words": "here"}}))
    assert probed() == [("second repository", True, "")]
    put(record, json.dumps({"place": "there", "began": 0}))
    assert probed() == [("second repository", True, "")]
    os.utime(own, (0, time.time() - 241 * 60))
    late = "there is no mirror; see journalctl -u salina-second"
    assert probed() == [("second repository", False, late)]
    put(record, json.dumps({"place": "here", "began": time.time() - 60}))
    assert probed() == [("second repository", True, "")]
    put(record, json.dumps({"place": "here", "began": time.time() - 242 * 60}))
    late = "the last mirror is 242 minutes old; see journalctl -u salina-second"
    assert probed() == [("second repository", False, late)]


def test_o9_health_shows_what_a_comparison_found(tmp_path: Path) -> None:
    """O9, K5: A damaged file is a fault until another comparison, and so is a place that nobody
    has read for days. The record of another place proves nothing.
    """
    own = put(tmp_path / "settings", json.dumps({"place": {"words": "here"}}))
    paths = {"record": str(tmp_path / "record"), "compared": str(tmp_path / "compared")}

    def probed(**record: Any) -> Any:
        if record:
            put(tmp_path / "compared", json.dumps({"place": "here", "ended": time.time()} | record))
        given = {**paths, "settings": str(own), "minutes": 10**6, "days": 9}
        _, found = probes.made("second_repository", given)
        assert found[0] == "second repository's files"
        return found[1:]

    assert probed() == (True, "")
    assert probed(damaged=[]) == (True, "")
    again = "delete it at the place; next: salt-run backup.mirror; salt-run backup.compare"
    assert probed(damaged=["master/x"]) == (False, f"damaged: master/x; {again}")
    found = probed(damaged=[f"master/{name}" for name in "abcde"])
    assert found == (False, f"damaged: master/a, master/b, master/c and 2 more; {again}")
    later = time.time() - 10 * 86_400
    again = "next: salt-run backup.compare"
    assert probed(ended=later) == (False, f"last compared 10 days ago; {again}")
    assert probed(ended=later, place="there") == (True, "")
    os.utime(own, (0, later))
    assert probed() == (False, f"never compared, and set 10 days ago; {again}")


# Mirrors, and the way back

PRESENT = shutil.which("rclone") is not None


def needs_rclone(test: Any) -> Any:
    """Mark a test that runs rclone itself."""
    return pytest.mark.programs(pytest.mark.skipif(not PRESENT, reason="needs rclone")(test))


def put(path: Path, content: str) -> Path:
    """Write a file, with its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def tree(directory: Path) -> dict[str, str]:
    """Return all files of a directory without those of the program: path -> content."""
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file() and not path.name.startswith(second.OWN)
    }


class Pretended(Rclone):
    """rclone between two directories, only pretended. It takes no time."""

    def files(self, place: Place, name: str) -> dict[str, int]:
        """Return the files of a mirror."""
        if not Path(place.root).exists():
            raise AwayError("directory not found")
        found = Path(place.base, name)
        return {
            str(path.relative_to(found)): path.stat().st_size
            for path in found.rglob("*")
            if path.is_file()
        }

    def copy(self, source: str, target: str, paths: Sequence[str], *options: str) -> None:
        """Copy files that are there."""
        for path in paths:
            Path(target, path).parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                shutil.copy2(Path(source, path), Path(target, path))

    def delete(self, remote: str, paths: Sequence[str]) -> None:
        """Delete files."""
        for path in paths:
            Path(remote, path).unlink()

    def tidy(self, remote: str) -> None:
        """Leave the empty directories."""


class Host:
    """A backup host with repositories, and a place in another directory.

    `locks` are files that never go to the place.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remote = folder / "place"
        self.remote.mkdir()
        self.locks = {"locks/l"}
        self.rclone: Rclone = Pretended()
        self.place = Place(str(self.remote), str(self.remote), "the place")
        self.parts = self.host("here")

    def host(self, name: str) -> list[Part]:
        """Return the repositories of a new host."""
        own = getpass.getuser()
        kinds = {"pgbackrest": "pgbackrest", "restic/crm": "restic", "master": "master"}
        found = [
            Part(part, kind, str(self.folder / name / part), own) for part, kind in kinds.items()
        ]
        for part in found:
            folder = Path(part.directory)
            (folder.parent if part.kind == "restic" else folder).mkdir(parents=True, exist_ok=True)
        return found

    def at(self, part: int) -> Path:
        """Return the directory of a repository."""
        return Path(self.parts[part].directory)

    def fill(self) -> None:
        """Write repositories."""
        for path in PGBACKREST:
            put(self.at(0) / path, path)
        for path in (*RESTIC, *self.locks):
            put(self.at(1) / path, path)
        put(self.at(2) / "20261129T120000Z.tar.gz.age", "state")

    def expire(self) -> None:
        """Replace the backup by a newer one."""
        for path in ("backup.manifest", "pg_data/base/1/3.zst"):
            put(self.at(0) / NEWER / path, path)
        shutil.rmtree(self.at(0) / LABEL)

    def real(self) -> None:
        """Use the real rclone from now on."""
        self.rclone = Rclone("[second]\ntype = local\n")
        self.place = Place(f"second:{self.remote}", f"second:{self.remote}", "the place")

    def fetch(self) -> list[str]:
        """Bring back what is lost."""
        return second.fetch(self.place, self.parts, self.rclone)

    def mirror(self) -> dict[str, int]:
        """Bring the place up to date."""
        return second.mirror(self.place, self.parts, self.rclone)

    def same(self) -> bool:
        """Return whether the place has all that the host has."""
        here = {
            f"{part.name}/{path}": content
            for part in self.parts
            for path, content in tree(Path(part.directory)).items()
            if path not in self.locks
        }
        return here == tree(self.remote)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A backup host whose repositories are marked and filled."""
    found = Host(tmp_path)
    assert found.fetch() == []
    found.fill()
    return found


@needs_rclone
def test_o9_additions_and_deletions_are_mirrored(host: Host) -> None:
    """O9: Also another content of the same size in an info file, and nothing twice."""
    host.real()
    counted = host.mirror()
    assert host.same()
    assert counted["files"] == len(PGBACKREST) + len(RESTIC) + 1
    stamps = {path: path.stat().st_mtime_ns for path in host.remote.rglob("*.zst")}
    put(host.at(0) / INFO[2], INFO[2].swapcase())
    host.expire()
    (host.at(1) / "snapshots/s").rename(host.at(1) / "snapshots/t")
    host.mirror()
    assert host.same()
    assert not (host.remote / "pgbackrest" / LABEL).exists()
    assert all(path.stat().st_mtime_ns == at for path, at in stamps.items() if path.exists())


class Killed(Exception):
    """Raised in place of a kill."""


class Dying(Pretended):
    """rclone that is killed at its n-th change, with its caller."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def copy(self, source: str, target: str, paths: Sequence[str], *options: str) -> None:
        """Copy files one by one."""
        for path in paths:
            self._step()
            super().copy(source, target, [path])

    def delete(self, remote: str, paths: Sequence[str]) -> None:
        """Delete files one by one."""
        for path in paths:
            self._step()
            super().delete(remote, [path])

    def _step(self) -> None:
        if not self.steps:
            raise Killed
        self.steps -= 1


def needed(files: Mapping[str, str]) -> set[str]:
    """Return what the heads of a mirror need: in these tests each head names its files."""
    found = set[str]()
    for path, content in files.items():
        if path.endswith((".info", ".info.copy")) or "/snapshots/" in path:
            found |= {line for line in content.split("\n") if line.startswith("needs ")}
    return {line.removeprefix("needs ") for line in found}


@pytest.mark.parametrize("steps", range(18))
def test_o9_a_run_that_is_killed_leaves_a_mirror_that_can_be_restored(
    host: Host, steps: int
) -> None:
    """O9: Whatever the heads at the place name is there, and the next run does the rest."""
    put(host.at(0) / INFO[2], f"needs pgbackrest/{LABEL}/pg_data/base/1/2.zst")
    put(host.at(1) / "snapshots/s", "needs restic/crm/data/ab/abc\nneeds restic/crm/index/i")
    host.mirror()
    host.expire()
    for path in (INFO[2], INFO[3]):
        put(host.at(0) / path, f"needs pgbackrest/{NEWER}/pg_data/base/1/3.zst")
    for path in ("data/ab/abc", "index/i", "snapshots/s"):
        (host.at(1) / path).unlink()
    for path in ("data/cd/cde", "index/j"):
        put(host.at(1) / path, path)
    put(host.at(1) / "snapshots/t", "needs restic/crm/data/cd/cde\nneeds restic/crm/index/j")
    with pytest.raises(Killed):
        second.mirror(host.place, host.parts, Dying(steps))
    there = tree(host.remote)
    assert needed(there) and needed(there) <= there.keys()
    host.mirror()
    assert host.same()


def test_o9_what_changes_during_a_run_is_done_again(host: Host) -> None:
    """O9: A backup that ends meanwhile is in the mirror with all of its files, or not at all."""
    host.mirror()
    put(host.at(0) / WAL.replace("01-abc", "02-def"), "wal")

    class Meanwhile(Pretended):
        done = False

        def copy(self, source: str, target: str, paths: Sequence[str], *options: str) -> None:
            super().copy(source, target, paths, *options)
            if not self.done:
                Meanwhile.done = True
                host.expire()
                put(host.at(0) / INFO[2], "none")

    second.mirror(host.place, host.parts, Meanwhile())
    assert host.same()


def test_o9_a_prune_during_a_run_is_no_loss(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """O9: It may replace all heads between the two looks; then the run begins again."""
    host.mirror()
    looked = second.heads

    def pruned(part: Part) -> dict[str, bytes]:
        found = looked(part)
        if part.kind == "restic" and (host.at(1) / "index/i").exists():
            put(host.at(1) / "index/j", "index")
            (host.at(1) / "index/i").unlink()
        return found

    monkeypatch.setattr(second, "heads", pruned)
    host.mirror()
    assert host.same()


def test_o9_an_empty_repository_never_replaces_a_mirror(host: Host) -> None:
    """O9: Neither a lost one, nor one that was created again by hand."""
    host.mirror()
    before = tree(host.remote)
    marks = (host.at(1) / MARK).read_text()
    shutil.rmtree(host.at(1))
    put(host.at(1) / MARK, marks)
    with pytest.raises(SecondError, match="crm: config not found; it looks empty or damaged"):
        host.mirror()
    (host.at(1) / MARK).unlink()
    put(host.at(1) / "config", "another")
    with pytest.raises(SecondError, match="crm: it is not ready"):
        host.mirror()
    with pytest.raises(SecondError, match="has the mirror of another one"):
        host.fetch()
    assert tree(host.remote) == before


@pytest.mark.parametrize("steps", range(19))
def test_o9_a_new_host_gets_all_back(host: Host, steps: int) -> None:
    """O9: Also if it is killed meanwhile, and no mirror is made before it has all."""
    host.mirror()
    there = tree(host.remote)
    host.parts = host.host("new")
    with pytest.raises(Killed):
        second.fetch(host.place, host.parts, Dying(steps))
    with pytest.raises(SecondError, match="it is not ready"):
        host.mirror()
    assert tree(host.remote) == there
    assert host.fetch()
    assert host.fetch() == []
    assert host.same()
    assert host.mirror()["files"] == len(there)
    assert host.same()
    assert not [
        path
        for path in host.at(0).iterdir()
        if path.name not in ("archive", "backup", MARK, second.RETURNED)
    ]


@needs_rclone
def test_o9_times_come_back(host: Host) -> None:
    """O9: The arrival of a copy of files is compared with its moment before any is deleted."""
    host.real()
    at = (host.at(1) / "snapshots/s").stat().st_mtime
    host.mirror()
    host.parts = host.host("new")
    host.fetch()
    assert abs((host.at(1) / "snapshots/s").stat().st_mtime - at) < 1


def test_o9_only_the_lost_part_comes_back(host: Host) -> None:
    """O9: The others stay as they are."""
    host.mirror()
    shutil.rmtree(host.at(0))
    host.at(0).mkdir()
    put(host.at(1) / "data/ef/new", "new")
    assert host.fetch() == [str(host.at(0))]
    assert (host.at(1) / "data/ef/new").exists()
    host.mirror()
    assert host.same()


def test_o9_a_new_host_leaves_a_mirror_alone_that_is_incomplete(host: Host) -> None:
    """O9: Its first run never ended, or the upload of a head broke. Only an operator deletes it."""
    with pytest.raises(Killed):
        second.mirror(host.place, host.parts, Dying(2))
    there = tree(host.remote)
    host.parts = host.host("new")
    said = "the place: pgbackrest: an incomplete mirror, archive.info and backup.info not found; "
    with pytest.raises(SecondError, match=said):
        host.fetch()
    assert tree(host.remote) == there
    shutil.rmtree(host.remote / "pgbackrest")
    assert host.fetch() == []
    host.fill()
    host.mirror()
    assert host.same()


def test_o9_a_mirror_with_the_copy_of_an_info_file_comes_back(host: Host) -> None:
    """O9: rclone deletes a file whose upload broke, and pgBackRest reads the copy."""
    host.mirror()
    (host.remote / "pgbackrest" / INFO[2]).unlink()
    host.parts = host.host("new")
    assert len(host.fetch()) == 3
    assert (host.at(0) / INFO[3]).exists() and not (host.at(0) / INFO[2]).exists()
    host.mirror()
    assert host.same()


@needs_rclone
def test_o9_an_earlier_state_of_the_host_replaces_no_newer_mirror(host: Host) -> None:
    """O9: Such as a snapshot of its machine. The operator can declare it the right one."""
    host.real()
    host.mirror()
    shutil.copytree(host.folder / "here", host.folder / "earlier")
    for content in ("one", "two"):
        put(host.at(2) / f"{content}.age", content)
        host.mirror()
    newest, there = host.parts, tree(host.remote)
    host.parts = host.host("earlier")  # users' files have not changed
    with pytest.raises(SecondError) as raised:
        host.mirror()
    assert str(raised.value).count("of a later state of this one") == 2
    assert tree(host.remote) == there
    assert len(second.claim(host.place, host.parts, host.rclone)) == 2
    assert second.claim(host.place, host.parts, host.rclone) == []
    host.mirror()
    assert host.same()
    host.parts = newest
    with pytest.raises(SecondError, match="the last mirror is that of another host"):
        host.mirror()


def test_o9_a_host_that_was_replaced_comes_back_and_changes_nothing(host: Host) -> None:
    """O9: Two hosts would otherwise delete each other's backups."""
    host.mirror()
    replaced, host.parts = host.parts, host.host("new")
    host.fetch()
    for _ in range(2):
        there = tree(host.remote)
        new, host.parts = host.parts, replaced
        with pytest.raises(SecondError, match="the last mirror is that of another host"):
            host.mirror()
        assert tree(host.remote) == there
        host.parts = new
        put(host.at(2) / "newer.age", "state")
        host.mirror()
        assert host.same()


def test_o9_lost_backups_are_not_deleted_at_the_place(host: Host) -> None:
    """O9: Nor packs and snapshots of users' files, while the heads look well."""
    host.mirror()
    there = tree(host.remote)
    shutil.rmtree(host.at(0) / LABEL)
    shutil.rmtree(host.at(1) / "data")
    with pytest.raises(SecondError) as raised:
        host.mirror()
    assert "pgbackrest: all backups are gone" in str(raised.value)
    assert "crm: all data are gone" in str(raised.value)
    assert tree(host.remote) == there


@needs_rclone
def test_o9_a_damaged_file_at_the_place_is_found(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: A sample is read there. Files that a mirror will send or delete do not count."""
    host.real()
    host.mirror()
    good = second.compare(host.place, host.parts, host.rclone)
    assert (good["files"], good["damaged"]) == (len(PGBACKREST) - len(INFO) + len(RESTIC) + 1, [])
    path = host.remote / "restic/crm/data/ab/abc"
    path.write_text(path.read_text().swapcase())
    put(host.at(1) / "data/cd/new", "new")
    (host.at(2) / "20261129T120000Z.tar.gz.age").unlink()
    found = second.compare(host.place, host.parts, host.rclone)
    assert found["damaged"] == ["restic/crm/data/ab/abc"]
    monkeypatch.setattr(second, "SAMPLE", 1)
    for again in (found["damaged"], ["pgbackrest/gone", *found["damaged"]]):
        later = second.compare(host.place, host.parts, host.rclone, again)
        assert later["damaged"] == found["damaged"]
    path.unlink()
    later = second.compare(host.place, host.parts, host.rclone, found["damaged"])
    assert later["damaged"] == []
    shutil.rmtree(host.remote)
    with pytest.raises(AwayError):
        second.compare(host.place, host.parts, host.rclone)


def test_o9_a_sample_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """O9: The newest backup's manifest is always in it, if it is not too large."""
    sizes = {f"{NEWER}/pg_data/{number}": 9 for number in range(1000)}
    sizes |= {f"{one}/backup.manifest": 9 for one in (LABEL, f"{LABEL}_20261130-030000D", NEWER)}
    chosen = second.sample(sizes)
    assert len(chosen) == len(set(chosen)) == second.SAMPLE
    assert chosen[0] == f"{LABEL}_20261130-030000D/backup.manifest"
    monkeypatch.setattr(second, "SAMPLE_BYTES", 20)
    assert len(second.sample(sizes)) == 2


def test_o9_symbolic_links_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9, S6: What one points to keeps its owner, and one that points nowhere does no harm."""
    put(tmp_path / "file", "")
    (tmp_path / "latest").symlink_to("20261129-030000F")
    (tmp_path / "folder").symlink_to("/etc")
    owned: dict[str, bool] = {}

    def chown(path: Path, _user: int, _group: int, *, follow_symlinks: bool) -> None:
        owned[path.name] = follow_symlinks

    monkeypatch.setattr(os, "chown", chown)
    second._own(tmp_path, getpass.getuser())
    assert owned == {"file": False, "latest": False, "folder": False}


@needs_rclone
def test_o9_a_place_that_does_not_exist_is_no_empty_place(host: Host) -> None:
    """O9: A wrong path must not look like a new fleet."""
    host.real()
    shutil.rmtree(host.remote)
    host.parts = host.host("new")
    with pytest.raises(AwayError, match="directory not found"):
        host.fetch()
    assert not second.marked(host.parts[0])


@needs_rclone
def test_o9_real_restic_reads_what_came_back(host: Host) -> None:
    """O9: restic checks every part of a repository that was mirrored and brought back."""
    host.real()
    if not shutil.which("restic"):
        pytest.skip("needs restic")
    shutil.rmtree(host.at(1))
    host.at(1).mkdir()
    put(host.folder / "users/a", "content")

    def restic(*arguments: str) -> str:
        options = [f"--repo={host.at(1)}", "--no-cache", "--quiet"]
        return subprocess.run(
            ["restic", *options, *arguments],
            env={"PATH": "/usr/bin:/bin", "RESTIC_PASSWORD": "p"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    host.fetch()
    restic("init", "--repository-version=2")
    restic("backup", str(host.folder / "users"))
    host.mirror()
    host.parts = host.host("new")
    host.fetch()
    restic("check", "--read-data")
    restic("backup", str(host.folder / "users"))
    assert len(json.loads(restic("snapshots", "--json"))) == 2
    restic("forget", "--prune", "--keep-last=1")
    host.mirror()


@pytest.fixture
def served(host: Host) -> Iterator[tuple[Host, dict[str, Any]]]:
    """The same host, whose place is behind an SFTP server; and the pillar that leads there."""
    own, server = pem(), pem()
    login = serialization.load_ssh_private_key(own, None).public_key()
    known = serialization.load_ssh_private_key(server, None).public_key()
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    keys = host.folder / "keys"
    put(keys / "server", server.decode()).chmod(0o600)
    put(keys / "authorized", login.public_bytes(*form).decode())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--addr=127.0.0.1:{port}", f"--key={keys}/server"]
    options += [
        f"--authorized-keys={keys}/authorized",
        "--config=/dev/null",
        "--vfs-cache-mode=off",
    ]
    server_process = subprocess.Popen(
        ["rclone", "serve", "sftp", str(host.remote), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def closed() -> str:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError as error:
            return str(error)
        return ""

    try:
        wait.clear(closed, 20, "rclone serve sftp", 0.1)
        host_key = known.public_bytes(*form).decode()
        given = SFTP | {"host": "127.0.0.1", "port": port, "path": "/", "host_keys": [host_key]}
        yield host, given | {"secret": own.decode().strip()}
    finally:
        server_process.kill()
        server_process.wait()


def through(host: Host, given: Mapping[str, Any]) -> None:
    """Let a host reach its place by the configuration that the pillar gives."""
    host.rclone = Rclone(rclone.configuration(given), rclone.known_hosts(given))
    host.place = rclone.place(given)


@needs_rclone
def test_o9_an_sftp_server_is_a_place(served: tuple[Host, dict[str, Any]]) -> None:
    """O9: There and back, with a deletion; and a server with another key gets nothing."""
    host, given = served
    other = pem()
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    foreign = serialization.load_ssh_private_key(other, None).public_key().public_bytes(*form)
    through(host, given | {"host_keys": [foreign.decode()]})
    with pytest.raises(AwayError, match="mismatch"):
        host.mirror()
    through(host, given)
    host.mirror()
    assert host.same()
    host.expire()
    host.mirror()
    assert host.same()
    assert not (host.remote / "pgbackrest" / LABEL).exists()
    host.parts = host.host("new")
    assert len(host.fetch()) == 3
    assert host.same()


@needs_rclone
def test_o9_a_file_that_cannot_be_read_is_damaged(served: tuple[Host, dict[str, Any]]) -> None:
    """O9: The server still lists it. When the server is gone, no file is to blame."""
    host, given = served
    through(host, given)
    host.mirror()
    assert second.compare(host.place, host.parts, host.rclone)["damaged"] == []
    (host.remote / "restic/crm/data/ab/abc").unlink()
    found = second.compare(host.place, host.parts, host.rclone)
    assert found["damaged"] == ["restic/crm/data/ab/abc"]
    through(host, given | {"port": 1})
    with pytest.raises(AwayError):
        host.rclone.different(str(host.at(1)), f"{host.place.base}/restic/crm", ["config"])


@pytest.mark.proof
@pytest.mark.skipif(not PRESENT, reason="needs rclone")
def test_o9_an_object_store_is_a_place(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """O9, X10: There and back through S3, with a deletion and the rights that the docs give.

    With them nobody deletes an earlier version, and a wrong secret or bucket is not an empty place.
    """
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)  # rclone 1.60 stops at it
    monkeypatch.setenv("SSL_CERT_FILE", str(host.folder / "store/ca.crt"))
    (host.folder / "store").mkdir()
    with object_store.running(host.folder / "store") as store:
        place = {"endpoint": store.url, "region": object_store.REGION, "path": "/salina"}
        own = section(S3 | place | {"bucket": object_store.BUCKET}) | {"secret": store.secret}
        identity = store.keys["salina"][0]
        for wrong, said in (
            ({"secret": f"{identity}\nwrong"}, "SignatureDoesNotMatch"),
            ({"bucket": "others"}, "directory not found"),
        ):
            through(host, own | wrong)
            with pytest.raises(AwayError, match=said):
                host.mirror()
        through(host, own)
        host.mirror()
        host.expire()
        host.mirror()
        before = [tree(Path(part.directory)) for part in host.parts]
        assert second.compare(host.place, host.parts, host.rclone)["damaged"] == []
        host.parts = host.host("new")
        assert len(host.fetch()) == 3
        for part, content in zip(host.parts, before, strict=True):
            kept = {path: text for path, text in content.items() if path not in host.locks}
            assert tree(Path(part.directory)) == kept

        found = store.call("owner", "list_object_versions", Prefix=f"salina/pgbackrest/{LABEL}")
        earlier = [one for one in found["Versions"] if one["Size"]]
        assert earlier and not any(one["IsLatest"] for one in earlier)
        one = {"Key": earlier[0]["Key"], "VersionId": earlier[0]["VersionId"]}
        refused = {"refused": "AccessDenied"}
        assert store.call("salina", "delete_object", **one) == refused
        rule = {
            "Status": "Enabled",
            "Filter": {},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        }
        given = {"LifecycleConfiguration": {"Rules": [rule]}}
        assert store.call("salina", "put_bucket_lifecycle_configuration", **given) == refused
        assert "refused" not in store.call("owner", "delete_object", **one)
