"""A restore: the request, its plan and its steps, and the commands and SQL that carry it out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salina.backup import lock, scratch
from salina.backup.files import parse_time
from salina_fleet.change import restore
from salina_fleet.change.restore import Request
from salina_fleet.errors import RunnerError

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
CET = timezone(timedelta(hours=1))
MIB = 2**20


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-29 12:00:00", NOON),
        ("2026-11-29T12:00", NOON),
        ("2026-11-29T12:00:00Z", NOON),
        ("  2026-11-29 12:00:00\n", NOON),
        ("2026-11-29 12:00:00 UTC", NOON),
        ("2026-11-29 12:00 UTC ", NOON),
        ("2026-11-29T13:00:00+01:00", NOON),
        ("2026-11-29 06:30:00.000-0530", NOON),
        ("2026-11-29 12:00:00.25", NOON + timedelta(milliseconds=250)),
        ("2026-11-29", NOON.replace(hour=0)),
        ("2000-01-01", datetime(2000, 1, 1, tzinfo=UTC)),
        ("1999-12-31T23:30:00-01:00", datetime(2000, 1, 1, 0, 30, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_moment_is_in_utc_unless_it_has_an_offset(text: str, moment: datetime) -> None:
    """O9: An operator can copy a moment from a log, with or without an offset."""
    found = scratch.parse_moment(text)
    assert found == moment
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "yesterday",
        "2026-13-01",
        "2026-11-29 25:00",
        "29.11.2026",
        "12:00 UTC",
        "0026-11-29 12:00:00",
        "1999-12-31 23:59:59",
        "2000-01-01T00:30:00+01:00",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_a_text_that_names_no_moment_is_refused(text: str) -> None:
    """O9: The message shows the text and two good examples, also for a year without a backup."""
    with pytest.raises(ValueError) as caught:
        scratch.parse_moment(text)
    assert str(caught.value) == bad_time(text)


def bad_time(text: str) -> str:
    """Return the fault of a bad moment."""
    return (
        f'time: "{text}" is not valid; must be latest, or a moment such as 2026-11-29 12:00:00 '
        "(UTC) or 2026-11-29T12:00:00+01:00"
    )


@pytest.mark.parametrize("example", ["2026-11-29 12:00:00", "2026-11-29T12:00:00+01:00"])
def test_the_examples_in_the_message_are_good(example: str) -> None:
    """An operator can use the examples of the message."""
    assert example in bad_time("")
    assert scratch.parse_moment(example).date() == NOON.date()


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOON, "2026-11-29 12:00:00.000000+00"),
        (datetime(2026, 11, 29, 0, 30, tzinfo=CET), "2026-11-28 23:30:00.000000+00"),
        (NOON.replace(microsecond=1), "2026-11-29 12:00:00.000001+00"),
    ],
)
def test_postgresql_reads_a_moment_in_utc(moment: datetime, text: str) -> None:
    """O9: The time zone of a host has no influence on the moment."""
    assert scratch.target(moment) == text


@given(
    st.datetimes(datetime(2000, 1, 2), datetime(2199, 1, 1), timezones=st.sampled_from([UTC, CET]))
)
def test_no_moment_changes_on_its_way(moment: datetime) -> None:
    """O9: The target names the same microsecond as the request."""
    assert scratch.parse_moment(scratch.target(moment)) == moment
    assert scratch.parse_moment(moment.isoformat()) == moment


PILLAR = {"configuration": "/etc/own.conf", "stanza": "salina", "files": "/disk/scratch"}
ALWAYS = {
    "--config=/etc/own.conf",
    "--stanza=salina",
    "--pg1-path=/disk/scratch",
    "--process-max=2",
    "--log-level-console=warn",
    "--archive-mode=off",
}


@pytest.mark.parametrize(
    ("until", "options"),
    [
        ("", []),
        (
            "2026-11-29 12:00:00.000000+00",
            [
                "--type=time",
                "--target=2026-11-29 12:00:00.000000+00",
                "--target-action=promote",
            ],
        ),
    ],
)
def test_the_command_fetches_a_cluster(until: str, options: list[str]) -> None:
    """O9: The copy never archives, and has all databases, whatever their names were then."""
    program, *found, command = scratch.restore_command(PILLAR, until)
    assert (program, command) == ("pgbackrest", "restore")
    assert sorted(found) == sorted([*ALWAYS, *options])


def test_the_scratch_cluster_is_beside_the_running_one() -> None:
    """O9: The copy is on the same disk, and outside the files of the running cluster."""
    assert scratch.directory("/var/lib/postgresql/15/salina") == "/var/lib/postgresql/15/scratch"


ROOMS = [
    (100, 300, 300, 300 + 2 * 100 + 2048),
    (100, 300, 200, 300 + 2 * 100 + 2048),  # the cluster has grown since
    (100, 300, 350, 350 + 2 * 150 + 2048),  # 50 MiB were deleted since, perhaps from this database
    (0, 300, 300, 300 + 2048),
    (0, 300, 400, 400 + 2 * 100 + 2048),  # the database was deleted
    (0, 0, 0, 2048),
    (2**20, 2**20, 2**20, 3 * 2**20 + 2048),
]
"""The database, the cluster, the cluster in the backup, and what a copy needs, in MiB."""


@pytest.mark.parametrize(("size", "cluster", "backup", "needed"), ROOMS)
@pytest.mark.parametrize("more", [0, 10**12])
def test_a_copy_that_fits_has_no_shortage(
    size: int, cluster: int, backup: int, needed: int, more: int
) -> None:
    """O9: A copy needs the larger cluster, twice the larger database, and leaves the spare part."""
    free = needed * MIB + more
    found = scratch.room(size * MIB, cluster * MIB, backup * MIB, free)
    assert found == {"needed": needed * MIB, "free": free, "shortage": ""}


@pytest.mark.parametrize(("size", "cluster", "backup", "needed"), ROOMS)
@pytest.mark.parametrize("less", [1, MIB])
def test_a_copy_that_does_not_fit_is_refused(
    size: int, cluster: int, backup: int, needed: int, less: int
) -> None:
    """O9: A copy never fills the disk of the running cluster, not even by a byte."""
    free = needed * MIB - less
    found = scratch.room(size * MIB, cluster * MIB, backup * MIB, free)
    assert (found["needed"], found["free"]) == (needed * MIB, free)
    assert found["shortage"] == (
        f"the copy needs {needed} MiB on the database's disk, and {needed - 1} are free"
    )


def test_the_size_of_a_database_is_asked_by_its_quoted_name() -> None:
    """O9: A name with a quotation mark cannot end the SQL."""
    assert scratch.size("crm") == "SELECT pg_database_size('crm')"
    assert scratch.size("o'hara") == "SELECT pg_database_size('o''hara')"


@pytest.mark.parametrize(
    ("reached", "last"),
    [
        ("0/58004D78", "000000040000000000000058"),
        ("0/59000000", "000000040000000000000058"),  # the end of that file
        ("0/58000001", "000000040000000000000058"),
        ("0/5A000000", "000000040000000000000058"),
        ("1/1", "000000040000000100000000"),
        ("1/0", "0000000400000000000000FF"),
        ("A/FE000028", "000000030000000A000000FE"),
        ("10/28", "000000010000001000000000"),
    ],
)
def test_a_recovery_that_reaches_the_last_wal_is_complete(reached: str, last: str) -> None:
    """O9: It ends within the last file of the repository or after it, whatever its timeline is."""
    assert scratch.ends_early(reached, last) == ""


@pytest.mark.parametrize(
    ("reached", "last"),
    [
        ("0/58000000", "000000040000000000000058"),  # the end of the file before
        ("0/57FFFFFF", "000000040000000000000058"),
        ("0/3000028", "000000040000000000000058"),
        ("0/FF000028", "000000040000000100000000"),
        ("1/0", "000000040000000100000000"),
        ("9/FE000028", "000000030000000A000000FE"),
    ],
)
def test_a_recovery_that_ends_early_is_told(reached: str, last: str) -> None:
    """O9: PostgreSQL takes a failure to fetch WAL for its end, so both positions are compared."""
    assert scratch.ends_early(reached, last) == (
        f"the recovery ended at {reached}, before {last}, which is in the repository"
    )


@given(st.integers(1, 2**64 - 1), st.integers(1, 2**32 - 1), st.integers(-2, 2))
def test_every_file_of_wal_has_its_positions(position: int, timeline: int, later: int) -> None:
    """O9: A file has 16 MiB, and a position at its first byte has nothing of it."""
    segment = min(max((position >> 24) + later, 0), 2**40 - 1)
    reached = f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
    last = f"{timeline:08X}{segment >> 8:08X}{segment & 0xFF:08X}"
    assert bool(scratch.ends_early(reached, last)) is (position <= segment << 24)


@pytest.mark.parametrize(
    ("database", "about", "sql"),
    [
        ("crm", "crm as of noon", """COMMENT ON DATABASE "crm" IS 'salina: crm as of noon';"""),
        ("crm", None, 'COMMENT ON DATABASE "crm" IS NULL;'),
        ("crm", "", """COMMENT ON DATABASE "crm" IS 'salina: ';"""),
        ('my"db', "O'Hara", """COMMENT ON DATABASE "my""db" IS 'salina: O''Hara';"""),
    ],
)
def test_a_comment_is_quoted(database: str, about: str | None, sql: str) -> None:
    """O9: A comment marks a copy, and its text cannot end the SQL."""
    assert scratch.comment(database, about) == sql


def test_the_sessions_of_the_named_databases_end() -> None:
    """O9: Only the session that asks survives, and names are quoted."""
    sql = scratch.disconnect(["crm", "o'hara"])
    assert "pg_terminate_backend(pid)" in sql
    assert "pid <> pg_backend_pid()" in sql
    assert sql.endswith("datname IN ('crm', 'o''hara');")


CRM = {"name": "crm", "user": "crm_role", "password": "canary"}


def test_databases_change_places_at_once_or_not_at_all() -> None:
    """O9: The sessions end first, and both renames are in one transaction with their owners."""
    lines = scratch.exchange(CRM, "salina_restored", "crm_before", "crm until noon").splitlines()
    assert lines == [
        scratch.disconnect(["crm", "salina_restored"]),
        "BEGIN;",
        'ALTER DATABASE "crm" RENAME TO "crm_before";',
        'ALTER DATABASE "crm_before" OWNER TO postgres;',
        """COMMENT ON DATABASE "crm_before" IS 'salina: crm until noon';""",
        'ALTER DATABASE "salina_restored" RENAME TO "crm";',
        'ALTER DATABASE "crm" OWNER TO "crm_role";',
        'COMMENT ON DATABASE "crm" IS NULL;',
        "COMMIT;",
    ]


def test_k2_databases_change_places_with_the_reason_or_not_at_all() -> None:
    """K2, O9: The request is in the same transaction, and does not mark a database that is kept."""
    usual = scratch.exchange(CRM, "salina_restored", "crm_before", "crm until noon").splitlines()
    lines = scratch.exchange(CRM, "salina_restored", "crm_before", "crm until noon", "it's noon")
    comment = """COMMENT ON DATABASE "crm" IS 'salina-from: it''s noon';"""
    assert lines.splitlines() == [*usual[:-2], comment, "COMMIT;"]
    assert f"LIKE '{scratch.ORIGIN}%'" in scratch.ORIGINS
    assert not scratch.ORIGIN.startswith(scratch.MARK)


def test_a_copy_takes_the_place_of_a_database_that_was_deleted() -> None:
    """O9: Without a database of the application nothing is kept, and the rest is the same."""
    assert scratch.exchange(CRM, "salina_restored", "", "crm until noon").splitlines() == [
        scratch.disconnect(["crm", "salina_restored"]),
        "BEGIN;",
        'ALTER DATABASE "salina_restored" RENAME TO "crm";',
        'ALTER DATABASE "crm" OWNER TO "crm_role";',
        'COMMENT ON DATABASE "crm" IS NULL;',
        "COMMIT;",
    ]


def test_an_exchange_is_quoted() -> None:
    """O9: A name or a text with a quotation mark cannot end the SQL."""
    sql = scratch.exchange({"name": 'a"b', "user": 'g"h'}, 'c"d', 'e"f', "it's old")
    assert 'ALTER DATABASE "a""b" RENAME TO "e""f";' in sql
    assert 'ALTER DATABASE "e""f" OWNER TO postgres;' in sql
    assert 'ALTER DATABASE "c""d" RENAME TO "a""b";' in sql
    assert 'ALTER DATABASE "a""b" OWNER TO "g""h";' in sql
    assert """COMMENT ON DATABASE "e""f" IS 'salina: it''s old';""" in sql


def test_a_copy_with_its_own_name_belongs_to_the_superuser() -> None:
    """O9, S6: No application can delete the copy, and both changes are in one transaction."""
    assert scratch.naming('crm"copy').splitlines() == [
        "BEGIN;",
        'ALTER DATABASE "salina_restored" RENAME TO "crm""copy";',
        'ALTER DATABASE "crm""copy" OWNER TO "postgres";',
        "COMMIT;",
    ]


def test_o1_a_copy_for_trials_belongs_to_a_role() -> None:
    """O1: It is the one that is given, quoted as every name."""
    owner = 'ALTER DATABASE "copy" OWNER TO "my""role";'
    assert scratch.naming("copy", 'my"role').splitlines()[2] == owner


def test_o1_no_restore_takes_a_copy_for_trials() -> None:
    """O1, O9: Without its comment it does not belong to the databases that restores have made."""
    assert scratch.naming("copy", "crm_staging").splitlines()[3:] == [
        'COMMENT ON DATABASE "copy" IS NULL;',
        "COMMIT;",
    ]


def test_the_databases_of_restores_are_read() -> None:
    """O9: An operator reads the comment without its mark, which is removed only once."""
    rows = [
        ["crm_before", 7 * MIB, "salina: crm until noon"],
        ["shop_noon", 0, "salina: salina: shop"],
    ]
    assert scratch.parse_kept(rows) == [
        scratch.Kept("crm_before", 7 * MIB, "crm until noon"),
        scratch.Kept("shop_noon", 0, "salina: shop"),
    ]
    assert scratch.parse_kept([]) == []


def test_the_query_finds_what_a_comment_marks() -> None:
    """O9: The query looks for the mark that `comment` writes."""
    assert f"LIKE '{scratch.MARK}%'" in scratch.KEPT
    assert f"IS '{scratch.MARK}" in scratch.comment("crm", "old")


APPLICATIONS = dict.fromkeys(("crm", "shop"))
BEFORE = "crm_before_20261128_090000"
KEPT = {
    BEFORE: "crm until 2026-11-28 09:00:00 UTC",
    "crm_noon": "crm as of 2026-11-27 12:00:00 UTC",
    "shop_noon": "shop as of 2026-11-27 12:00:00 UTC",
}
NAMES = ["postgres", "template0", "template1", *APPLICATIONS, *KEPT, "reports"]


def parse(
    request: Mapping[str, Any],
    kept: Mapping[str, str] = KEPT,
    names: Collection[str] = NAMES,
    origins: Mapping[str, str] | None = None,
) -> Request:
    """Return a request for one application to a fleet of two, checked."""
    [found] = restore.parse(request, APPLICATIONS, [*APPLICATIONS], kept, names, origins or {})
    return found


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        ({"application": "crm"}, Request("crm", None, None, None, False)),
        ({"application": "crm", "time": "latest"}, Request("crm", None, None, None, False)),
        (
            {"application": "crm", "time": "2026-11-29 12:00:00"},
            Request("crm", NOON, None, None, False),
        ),
        (
            {"application": "shop", "time": "2026-11-29T13:00:00+01:00", "confirm": "shop"},
            Request("shop", NOON, None, None, True),
        ),
        (
            {"application": "crm", "time": NOON.replace(tzinfo=None)},
            Request("crm", NOON, None, None, False),
        ),
        (
            {"application": "crm", "name": "crm_copy"},
            Request("crm", None, "crm_copy", None, False),
        ),
        (
            {"application": "crm", "time": "2026-11-29 12:00 UTC", "name": "x" * 63},
            Request("crm", NOON, "x" * 63, None, False),
        ),
        (
            {"application": "crm", "kept": BEFORE, "confirm": "crm"},
            Request("crm", None, None, BEFORE, True),
        ),
        (
            {"application": "crm", "time": None, "name": None, "kept": None, "confirm": None},
            Request("crm", None, None, None, False),
        ),
        (
            {"application": "crm", "time": None, "name": None, "kept": "crm_noon"},
            Request("crm", None, None, "crm_noon", False),
        ),
    ],
)
def test_a_good_request_is_read(request_: dict[str, Any], found: Request) -> None:
    """O9: A request asks for a moment or for now, for a new name, or for a kept database."""
    assert parse(request_) == found


def test_a_new_name_leaves_the_database_in_place() -> None:
    """O9: Only a request without a name replaces the application's database."""
    assert parse({"application": "crm"}).in_place
    assert parse({"application": "crm", "kept": BEFORE}).in_place
    assert not parse({"application": "crm", "name": "crm_copy"}).in_place


NOT_AN_APPLICATION = "is not an application; choose one of: crm, shop; or all"
NOT_A_NAME = (
    "is not valid; must be the name of a new database, of lower-case letters, digits and "
    "underscores, beginning with a letter"
)
TAKEN = "is the name of a database already; choose another one"
NONE_KEPT = "is not a database that a restore of this application has made or kept; choose one of: "
NOT_KEPT = f"{NONE_KEPT}{BEFORE}, crm_noon"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"tme": "latest"},
            "tme: is not known; choose among application, time, name, kept, confirm",
        ),
        ({"application": "erp"}, f'application: "erp" {NOT_AN_APPLICATION}'),
        ({"application": None}, f"application: nothing {NOT_AN_APPLICATION}"),
        ({"application": 3}, f"application: 3 {NOT_AN_APPLICATION}"),
        ({"application": ["crm"]}, f"application: a list {NOT_AN_APPLICATION}"),
        ({"application": {"crm": 1}}, f"application: a mapping {NOT_AN_APPLICATION}"),
        ({"time": "noon"}, bad_time("noon")),
        ({"time": ""}, bad_time("")),
        ({"time": "1999-12-31 12:00:00"}, bad_time("1999-12-31 12:00:00")),
        ({"name": "Crm"}, f'name: "Crm" {NOT_A_NAME}'),
        ({"name": "1crm"}, f'name: "1crm" {NOT_A_NAME}'),
        ({"name": "crm-copy"}, f'name: "crm-copy" {NOT_A_NAME}'),
        ({"name": "crm\n"}, f'name: "crm\\n" {NOT_A_NAME}'),
        ({"name": ""}, f'name: "" {NOT_A_NAME}'),
        ({"name": 5}, f"name: 5 {NOT_A_NAME}"),
        ({"name": ["crm"]}, f"name: a list {NOT_A_NAME}"),
        ({"name": "x" * 64}, f'name: "{"x" * 64}" has 64 characters; must have at most 63'),
        ({"name": "CRM" + "x" * 64}, f'name: "CRM{"x" * 64}" {NOT_A_NAME}'),
        ({"name": "crm"}, f'name: "crm" {TAKEN}'),
        ({"name": "shop"}, f'name: "shop" {TAKEN}'),
        ({"name": "crm_noon"}, f'name: "crm_noon" {TAKEN}'),
        ({"name": "shop_noon"}, f'name: "shop_noon" {TAKEN}'),
        ({"name": "postgres"}, f'name: "postgres" {TAKEN}'),
        ({"name": "template0"}, f'name: "template0" {TAKEN}'),
        ({"name": "template1"}, f'name: "template1" {TAKEN}'),
        ({"name": "reports"}, f'name: "reports" {TAKEN}'),
        ({"name": "salina_restored"}, f'name: "salina_restored" {TAKEN}'),
        ({"kept": "crm_old"}, f'kept: "crm_old" {NOT_KEPT}'),
        ({"kept": "crm"}, f'kept: "crm" {NOT_KEPT}'),
        ({"kept": "shop_noon"}, f'kept: "shop_noon" {NOT_KEPT}'),
        ({"kept": ""}, f'kept: "" {NOT_KEPT}'),
        ({"kept": ["crm_noon"]}, f"kept: a list {NOT_KEPT}"),
        (
            {"kept": "crm_noon", "time": "2026-11-29 12:00:00"},
            "kept: does not go together with time",
        ),
        ({"kept": "crm_noon", "time": "latest"}, "kept: does not go together with time"),
        ({"kept": "crm_noon", "name": "crm_copy"}, "kept: does not go together with name"),
        ({"confirm": "shop"}, 'confirm: "shop" is not valid; must be crm'),
        ({"confirm": ""}, 'confirm: "" is not valid; must be crm'),
        ({"confirm": True}, "confirm: true is not valid; must be crm"),
    ],
)
def test_a_bad_request_has_one_fault(changes: dict[str, Any], fault: str) -> None:
    """O9: A bad request is refused with the key, its value, and the good values."""
    with pytest.raises(RunnerError) as caught:
        parse({"application": "crm", **changes})
    assert str(caught.value) == fault


@pytest.mark.parametrize("names", [NAMES, [*NAMES, "salina_restored"], []])
def test_the_name_of_an_unfinished_copy_is_never_free(names: list[str]) -> None:
    """O9: The next restore would delete such a database, so none gets that name."""
    with pytest.raises(RunnerError) as caught:
        parse({"application": "crm", "name": "salina_restored"}, names=names)
    assert str(caught.value) == f'name: "salina_restored" {TAKEN}'


def test_a_request_must_name_an_application() -> None:
    """O9: There is no default application, even in a request that names nothing else."""
    with pytest.raises(RunnerError) as caught:
        parse({})
    assert str(caught.value) == f"application: nothing {NOT_AN_APPLICATION}"


@pytest.mark.parametrize(
    "kept",
    [{}, {"crm_noon": "shop as of noon"}, {"crm_noon": "crm2 as of noon"}, {"crm_noon": ""}],
)
def test_a_kept_database_of_another_application_is_refused(kept: dict[str, str]) -> None:
    """O9: The first word of what a database is decides, so no application gets foreign data."""
    with pytest.raises(RunnerError) as caught:
        parse({"application": "crm", "kept": "crm_noon"}, kept)
    assert str(caught.value) == f'kept: "crm_noon" {NONE_KEPT}(none)'


def test_several_faults_are_reported_together() -> None:
    """O9: An operator corrects all keys at once."""
    with pytest.raises(RunnerError) as caught:
        parse(
            {
                "aplication": "crm",
                "application": "erp",
                "time": "noon",
                "name": "Crm",
                "kept": "crm_old",
                "confirm": "crm",
                "force": True,
            }
        )
    known = "is not known; choose among application, time, name, kept, confirm"
    assert str(caught.value).splitlines() == [
        f"aplication: {known}",
        f"force: {known}",
        f'application: "erp" {NOT_AN_APPLICATION}',
        bad_time("noon"),
        f'name: "Crm" {NOT_A_NAME}',
        f'kept: "crm_old" {NONE_KEPT}(none)',
        "kept: does not go together with time",
        "kept: does not go together with name",
    ]


ALL = ["crm", "shop"]
"""The applications of a fleet that `all` stands for, in the order of the topology."""
STAGING = {"crm": None, "crm_staging": None, "shop": None}
"""Those of that fleet, one of them a copy for trials."""


def parse_all(
    request: Mapping[str, Any],
    every: Sequence[str] = ALL,
    names: Collection[str] = NAMES,
    origins: Mapping[str, str] | None = None,
) -> list[Request]:
    """Return a request for all applications of a fleet with a copy for trials, checked."""
    asked = {"application": "all", **request}
    return restore.parse(asked, STAGING, every, KEPT, names, origins or {})


@pytest.mark.parametrize("every", [ALL, ["shop", "crm"]])
@pytest.mark.parametrize(
    ("asked", "until", "suffix", "confirmed"),
    [
        ({}, None, "", False),
        ({"time": "latest", "confirm": "all"}, None, "", True),
        ({"time": "2026-11-29 13:00+01:00"}, NOON, "", False),
        ({"name": "copy"}, None, "_copy", False),
        ({"time": "2026-11-29 12:00", "name": "copy", "confirm": "all"}, NOON, "_copy", True),
        ({"time": None, "name": None, "kept": None, "confirm": None}, None, "", False),
    ],
)
def test_o9_a_request_for_all_is_one_for_each_application(
    every: list[str],
    asked: dict[str, Any],
    until: datetime | None,
    suffix: str,
    confirmed: bool,
) -> None:
    """O9: In their order, each with a name of its own. A copy for trials is not among them."""
    assert parse_all(asked, every) == [
        Request(one, until, f"{one}{suffix}" if suffix else None, None, confirmed) for one in every
    ]


def test_o9_a_copy_for_trials_is_restored_if_it_is_named() -> None:
    """O9: Only the word `all` leaves it out."""
    found = restore.parse({"application": "crm_staging"}, STAGING, ALL, KEPT, NAMES, {})
    assert found == [Request("crm_staging", None, None, None, False)]


LONG = "x" * 59
"""With it and a line, the name for crm has 63 characters, and that for shop one more."""


@pytest.mark.parametrize(
    ("asked", "faults"),
    [
        ({"name": "noon"}, [f'name: "{one}_noon" {TAKEN}' for one in ALL]),
        ({"name": "staging"}, [f'name: "crm_staging" {TAKEN}']),
        ({"name": "before_20261128_090000"}, [f'name: "{BEFORE}" {TAKEN}']),
        ({"name": LONG}, [f'name: "shop_{LONG}" has 64 characters; must have at most 63']),
        (
            {"name": f"{LONG}x"},
            [
                f'name: "crm_{LONG}x" has 64 characters; must have at most 63',
                f'name: "shop_{LONG}x" has 65 characters; must have at most 63',
            ],
        ),
        ({"name": "Noon"}, [f'name: "Noon" {NOT_A_NAME}']),
        ({"name": "_noon"}, [f'name: "_noon" {NOT_A_NAME}']),
        ({"name": ""}, [f'name: "" {NOT_A_NAME}']),
        ({"name": 5}, [f"name: 5 {NOT_A_NAME}"]),
        ({"kept": "crm_noon"}, ["kept: does not go together with all"]),
        ({"kept": "nope"}, ["kept: does not go together with all"]),
        (
            {"kept": "crm_noon", "time": "latest"},
            ["kept: does not go together with all", "kept: does not go together with time"],
        ),
        ({"time": "noon"}, [bad_time("noon")]),
    ],
)
def test_o9_a_bad_request_for_all_is_refused(asked: dict[str, Any], faults: list[str]) -> None:
    """O9, K5: Every fault has the whole name of the database, and nothing is restored partly."""
    for confirm in ({}, {"confirm": "all"}):
        with pytest.raises(RunnerError) as caught:
            parse_all({**asked, **confirm})
        assert str(caught.value).splitlines() == faults


@pytest.mark.parametrize(
    ("confirm", "shown"),
    [
        *(("crm", '"crm"'), ("shop", '"shop"'), ("ALL", '"ALL"')),
        *(("", '""'), (True, "true"), (["all"], "a list")),
    ],
)
def test_o9_a_request_for_all_is_confirmed_by_that_word(confirm: Any, shown: str) -> None:
    """O9: The name of one application does not confirm what happens to the others."""
    with pytest.raises(RunnerError) as caught:
        parse_all({"confirm": confirm})
    assert str(caught.value) == f"confirm: {shown} is not valid; must be all"


def test_o9_the_word_all_does_not_confirm_one_application() -> None:
    """O9: The request and its confirmation are the same word."""
    with pytest.raises(RunnerError) as caught:
        parse({"application": "crm", "confirm": "all"})
    assert str(caught.value) == 'confirm: "all" is not valid; must be crm'


@given(
    st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True), min_size=1, unique=True),
    st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True),
)
def test_o9_no_two_copies_get_the_same_name(every: list[str], name: str) -> None:
    """O9: The names of the applications differ, so those of their copies do. None is cut."""
    try:
        found = restore.parse({"application": "all", "name": name}, every, every, {}, every, {})
    except RunnerError as error:
        assert TAKEN in str(error)
        return
    names = [one.name or "" for one in found]
    assert [one.application for one in found] == every
    assert len({*names, *every}) == 2 * len(every)
    assert all(restore.NAME.fullmatch(one) and len(one) <= 63 for one in names)


BACKUPS = [
    {"label": "full", "end": int((NOON - timedelta(days=2)).timestamp())},
    {"label": "diff-1", "end": int((NOON - timedelta(days=1)).timestamp())},
    {"label": "diff-2", "end": int(NOON.timestamp())},
]


@pytest.mark.parametrize("until", [None, NOON])
def test_without_a_backup_nothing_can_be_restored(until: datetime | None) -> None:
    """O9: The message names the command that shows the state of the backups."""
    with pytest.raises(RunnerError) as caught:
        restore.source(until, [])
    assert str(caught.value) == "there is no backup\nnext: salt-run backup.status"


@pytest.mark.parametrize(
    ("until", "label"),
    [
        (None, "diff-2"),
        (NOON + timedelta(minutes=1), "diff-2"),
        (NOON + timedelta(seconds=1), "diff-2"),
        (NOON + timedelta(milliseconds=999), "diff-1"),
        (NOON, "diff-1"),
        (NOON - timedelta(seconds=1), "diff-1"),
        (NOON - timedelta(hours=23), "diff-1"),
        (NOON - timedelta(days=1), "full"),
        (NOON - timedelta(days=1, seconds=1), "full"),
        (NOON - timedelta(days=1, hours=23), "full"),
        (NOON - timedelta(days=2, seconds=-1), "full"),
        (datetime(2026, 11, 29, 12, 30, tzinfo=CET), "diff-1"),
    ],
)
def test_a_restore_begins_with_the_newest_backup_before(
    until: datetime | None, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: pgBackRest takes the newest backup that ended before the second of the moment."""
    freeze(monkeypatch, NOON + timedelta(hours=1))
    found = restore.source(until, BACKUPS)
    assert found in BACKUPS
    assert found["label"] == label


@pytest.mark.parametrize(
    ("later", "words"), [(-1.0, "11:59:59"), (0.0, "12:00:00"), (0.999, "12:00:00")]
)
def test_a_moment_before_the_first_backup_is_refused(
    later: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: The message names the first second that can be restored."""
    freeze(monkeypatch, NOON + timedelta(hours=1))
    with pytest.raises(RunnerError) as caught:
        restore.source(NOON - timedelta(days=2) + timedelta(seconds=later), BACKUPS)
    assert str(caught.value) == (
        f"time: 2026-11-27 {words} UTC is before the end of the first backup; choose a moment "
        "since 2026-11-27 12:00:01 UTC"
    )
    first = scratch.parse_moment(str(caught.value).rpartition("since ")[2])
    assert restore.source(first, BACKUPS) == BACKUPS[0]


def test_a_moment_in_the_future_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """O9: PostgreSQL would wait for WAL that does not exist yet."""
    freeze(monkeypatch, NOON)
    with pytest.raises(RunnerError) as caught:
        restore.source(datetime(2026, 11, 29, 13, 0, 1, tzinfo=CET), BACKUPS)
    assert str(caught.value) == (
        "time: 2026-11-29 12:00:01 UTC is yet to come; choose an earlier moment"
    )


def freeze(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    """Have the module see this moment as now."""

    class Frozen(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return now.astimezone(tz)

    monkeypatch.setattr(restore, "datetime", SimpleNamespace(datetime=Frozen, UTC=UTC))


@pytest.mark.parametrize(
    ("until", "words"),
    [
        (None, "now"),
        (NOON, "2026-11-29 12:00:00 UTC"),
        (datetime(2026, 11, 29, 0, 30, 5, tzinfo=CET), "2026-11-28 23:30:05 UTC"),
    ],
)
def test_a_moment_in_words(until: datetime | None, words: str) -> None:
    """O9: An operator reads every moment in UTC, to the second."""
    assert restore.words(until) == words


def test_the_name_of_a_kept_database_has_its_moment() -> None:
    """O9: The name says whose database it was, and when another one took its place."""
    now = datetime(2026, 11, 29, 9, 5, 7, tzinfo=UTC)
    assert restore.previous("crm", now) == "crm_before_20261129_090507"


@pytest.mark.parametrize("length", [1, 39, 40, 63])
def test_the_name_of_a_kept_database_is_never_cut(length: int) -> None:
    """O9: PostgreSQL would cut a longer name, and no request could name that database."""
    found = restore.previous("x" * length, NOON)
    assert len(found) <= 63
    assert found.endswith("_before_20261129_120000")
    assert restore.NAME.fullmatch(found)


ROOM = {"needed": 200 * MIB, "free": 5 * 2**30, "shortage": ""}
HOSTS = ["s1", "s2"]
FULL = "20261129-030000F"
STOPS = [
    "crm stops on s1, s2 while the databases change places",
    "what users have changed after that moment is then in the kept database only",
    "kept: the current database, as crm_before_… with the moment, until `salt-run backup.discard`",
]
FILES = "files that are gone come back; none is removed or replaced"
NEEDED = "on pg-a 200.0 MiB are needed, and 5.0 GiB are free"
COMMAND = "next: salt-run state.orchestrate orch.restore pillar="


@pytest.mark.parametrize(
    ("asked", "label", "lines"),
    [
        (
            {},
            FULL,
            [
                f"the database of crm as of now, from backup {FULL} and the WAL after it",
                NEEDED,
                *STOPS,
                FILES,
                COMMAND + """'{"application": "crm", "confirm": "crm"}'""",
            ],
        ),
        (
            {"time": "2026-11-29 13:00+01:00", "name": "crm_copy"},
            FULL,
            [
                f"the database of crm as of 2026-11-29 12:00:00 UTC, from backup {FULL} and the "
                "WAL after it",
                NEEDED,
                "the copy gets the name crm_copy, and crm goes on",
                FILES,
                COMMAND + """'{"application": "crm", "time": "2026-11-29T12:00:00+00:00", """
                """"name": "crm_copy", "confirm": "crm"}'""",
            ],
        ),
        (
            {"kept": "crm_noon"},
            "",
            [
                "crm_noon becomes the database of crm again",
                *STOPS,
                FILES,
                COMMAND + """'{"application": "crm", "kept": "crm_noon", "confirm": "crm"}'""",
            ],
        ),
    ],
)
def test_a_plan_says_what_would_happen(asked: dict[str, Any], label: str, lines: list[str]) -> None:
    """O9: Before anything changes, an operator reads the consequences and the command."""
    request = parse({"application": "crm", **asked})
    assert restore.plan([request], label, "pg-a", ROOM, {"crm": HOSTS}).splitlines() == lines


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"time": "latest"},
        {"time": "2026-11-29 12:00:00"},
        {"time": "2026-11-29 12:00:00.123456-05:30"},
        {"name": "crm_copy"},
        {"time": "2026-11-29", "name": "crm_copy"},
        {"kept": "crm_noon"},
    ],
)
def test_the_command_of_a_plan_is_the_same_request(asked: dict[str, Any]) -> None:
    """O9: A shell passes the command on as JSON, which only adds the confirmation."""
    request = parse({"application": "crm", **asked})
    again = command(restore.plan([request], FULL, "pg-a", ROOM, {"crm": HOSTS}))
    assert again["confirm"] == "crm"
    assert parse(again) == replace(request, confirmed=True)


def command(plan: str) -> dict[str, Any]:
    """Return the request of the command at the end of a plan, as a shell passes it on."""
    words = shlex.split(plan.splitlines()[-1].removeprefix("next: "))
    assert words[:-1] == restore.COMMAND.split()
    found: dict[str, Any] = json.loads(words[-1].removeprefix("pillar="))
    return found


WHERE = {"crm": HOSTS, "shop": ["w1"]}
SHOP_STOPS = [
    "shop stops on w1 while the databases change places",
    STOPS[1],
    STOPS[2].replace("crm_", "shop_"),
]


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        (
            {},
            [
                f"the databases of crm, shop as of now, from backup {FULL} and the WAL after it",
                NEEDED,
                *STOPS,
                *SHOP_STOPS,
                FILES,
                COMMAND + """'{"application": "all", "confirm": "all"}'""",
            ],
        ),
        (
            {"time": "2026-11-29 13:00+01:00", "name": "copy"},
            [
                f"the databases of crm, shop as of 2026-11-29 12:00:00 UTC, from backup {FULL} "
                "and the WAL after it",
                NEEDED,
                "the copy gets the name crm_copy, and crm goes on",
                "the copy gets the name shop_copy, and shop goes on",
                FILES,
                COMMAND + """'{"application": "all", "time": "2026-11-29T12:00:00+00:00", """
                """"name": "copy", "confirm": "all"}'""",
            ],
        ),
    ],
)
def test_o9_a_plan_for_all_says_what_happens_to_each(
    asked: dict[str, Any], lines: list[str]
) -> None:
    """O9: The room and the files are told once, and the command asks for all again."""
    assert restore.plan(parse_all(asked), FULL, "pg-a", ROOM, WHERE).splitlines() == lines


@pytest.mark.parametrize("every", [ALL, ["shop", "crm"], ["crm"]])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"time": "latest"},
        {"time": "2026-11-29 12:00:00.123456-05:30"},
        {"name": "copy"},
        {"name": "crm_copy"},
        {"time": "2026-11-29", "name": "shop"},
    ],
)
def test_o9_the_command_of_a_plan_for_all_is_the_same_request(
    asked: dict[str, Any], every: list[str]
) -> None:
    """O9: Also for a name that begins as an application's, and in a fleet of one application."""
    requests = parse_all(asked, every)
    again = command(restore.plan(requests, FULL, "pg-a", ROOM, WHERE))
    assert parse_all(again, every) == [replace(one, confirmed=True) for one in requests]


OLD = "crm_before_20261129_120000"
BROUGHT = "files that are gone come back: backup.bring_files"
COPIED = ["the database is copied from the backups: backup.copy", BROUGHT]
STOPPED = [
    "every app host answers: fleet.ready",
    "each host has the release of the database: upgrade.prepare",
    "the application stops: backup.stop",
]
MEANWHILE = "files removed meanwhile come back: backup.bring_files"
EXCHANGED = [
    "the databases change places: backup.exchange",
    "each host gets its release: upgrade.switch",
    "the application starts: s1 s2",
    "each host serves: fleet.probe",
]
COMPLETE = "the restore is complete: backup.complete"


def told(asked: dict[str, Any], origins: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what a request of noon to restore crm does."""
    request = parse({"application": "crm", **asked}, origins=origins)
    return restore.told([request], {"crm": HOSTS}, KEPT, NOON)


def arguments(asked: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the arguments of each runner that a request calls."""
    return {step["runner"]: step["arguments"] for step in told(asked)["steps"] if "runner" in step}


@pytest.mark.parametrize(
    ("asked", "what", "steps"),
    [
        (
            {},
            "restore: crm gets the state of now",
            [*COPIED, *STOPPED, MEANWHILE, *EXCHANGED, COMPLETE],
        ),
        (
            {"time": "2026-11-29 12:00"},
            "restore: crm gets the state of 2026-11-29 12:00:00 UTC",
            [*COPIED, *STOPPED, MEANWHILE, *EXCHANGED, COMPLETE],
        ),
        (
            {"time": "2026-11-29 12:00", "name": "crm_copy"},
            "restore: crm gets the state of 2026-11-29 12:00:00 UTC as crm_copy",
            [*COPIED, "the copy becomes crm_copy: backup.rename"],
        ),
        (
            {"kept": "crm_noon"},
            "restore: crm gets crm_noon",
            [BROUGHT, *STOPPED, MEANWHILE, *EXCHANGED],
        ),
    ],
)
def test_the_steps_of_a_restore_in_order(
    asked: dict[str, Any], what: str, steps: list[str]
) -> None:
    """O9: The application stops only when its new database is complete, and then serves again."""
    found = told(asked)
    assert found["what"] == what
    assert shown(found["steps"]) == steps


def shown(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return steps in words, with their functions or hosts."""
    return [
        f"{step['name']}: {step['runner'] if 'runner' in step else ' '.join(step['hosts'])}"
        for step in steps
    ]


NOON_ORIGIN = "as of 2026-11-29 12:00:00.000000+00"
ASKED = [
    ({"kept": "crm_gone"}, "crm_gone", "crm_gone"),
    ({"time": "2026-11-29 13:00+01:00"}, NOON_ORIGIN, "the state of 2026-11-29 12:00:00 UTC"),
    ({}, "as of latest", "the state of now"),
]
"""Requests, the origins that they leave in the database, and what they bring."""


@pytest.mark.parametrize(("asked", "origin", "state"), ASKED)
def test_k2_a_repeated_restore_only_finishes(
    asked: dict[str, Any], origin: str, state: str
) -> None:
    """K2, O9: The databases have changed places, and users may have worked since then."""
    found = told(asked, {"crm": origin})
    assert found["what"] == f"restore: crm got {state} already"
    usual = ["every app host answers: fleet.ready", *EXCHANGED[-2:]]
    assert shown(found["steps"]) == usual + ([] if "kept" in asked else [COMPLETE])
    request = parse({"application": "crm", **asked}, origins={"crm": origin})
    assert request.exchanged and request.origin == origin
    lines = restore.plan([request], "", "pg-a", {}, {"crm": HOSTS}).splitlines()
    words = "its databases keep their places, and s1, s2 follow"
    assert lines[0] == f"crm got {state} already: {words}"
    assert len(lines) == 2 and lines[1].startswith(COMMAND)


@pytest.mark.parametrize(
    ("asked", "origin"),
    [
        ({"kept": "crm_noon"}, "crm_noon"),  # another one has that name by now
        ({"kept": BEFORE}, "crm_noon"),
        ({"time": "2026-11-29 12:00:01"}, NOON_ORIGIN),
        ({}, NOON_ORIGIN),
        ({"name": "crm_copy"}, "as of latest"),
    ],
)
def test_k2_another_restore_is_done(asked: dict[str, Any], origin: str) -> None:
    """K2, O9: Only the same request is finished, and a copy with a name of its own is made."""
    assert not parse({"application": "crm", **asked}, origins={"crm": origin}).exchanged
    assert told(asked, {"crm": origin}) == told(asked)


def test_k2_of_several_applications_those_that_are_done_keep_their_databases() -> None:
    """K2, O9: The restore is noted as complete for all of them at once, after the last one."""
    requests = parse_all({}, origins={"crm": "as of latest"})
    assert [one.application for one in restore.copies(requests)] == ["shop"]
    found = restore.told(requests, WHERE, KEPT, NOON)
    assert found["what"] == "restore: crm, shop get the state of now"
    changed = [one["arguments"] for one in found["steps"] if one.get("runner") == "backup.exchange"]
    assert [one["application"] for one in changed] == ["shop"]
    assert found["steps"][-1]["arguments"] == {"applications": ["crm", "shop"]}
    lines = restore.plan(requests, FULL, "pg-a", ROOM, WHERE).splitlines()
    assert lines[0] == f"the database of shop as of now, from backup {FULL} and the WAL after it"
    assert lines[2].startswith("crm got the state of now already: ")


@pytest.mark.parametrize(
    ("asked", "until", "words"),
    [
        ({}, "", "2026-11-29 12:00:00 UTC"),
        (
            {"time": "2026-11-28 13:00+01:00"},
            "2026-11-28 12:00:00.000000+00",
            "2026-11-28 12:00:00 UTC",
        ),
        ({"name": "crm_copy"}, "", "2026-11-29 12:00:00 UTC"),
    ],
)
def test_a_copy_is_of_the_moment_of_the_request(
    asked: dict[str, Any], until: str, words: str
) -> None:
    """O9: The step has the moment as PostgreSQL reads it, or none for the newest state. The words
    about the copy always have a moment, because its files are looked for by it.
    """
    assert arguments(asked)["backup.copy"] == {
        "application": "crm",
        "until": until,
        "about": f"crm as of {words}",
    }


@pytest.mark.parametrize(
    ("asked", "until"),
    [
        ({}, NOON),
        ({"name": "crm_copy"}, NOON),
        ({"time": "2026-11-28 13:00:00.5+01:00"}, NOON - timedelta(days=1, seconds=-0.5)),
        ({"kept": "crm_noon"}, NOON - timedelta(days=2)),
        ({"kept": BEFORE}, NOON - timedelta(days=1, hours=3)),
    ],
)
def test_the_files_of_the_moment_come_back(asked: dict[str, Any], until: datetime) -> None:
    """O9: Users remove files until the application stops. The copy of the newest state, which is
    as old as the request, needs these as well. A kept database needs all since it was replaced.
    """
    found = [step["arguments"] for step in told(asked)["steps"] if "bring_files" in str(step)]
    whole = {"application": "crm", "until": until.isoformat()}
    assert found == ([whole] if "name" in asked else [whole, {**whole, "copies": False}])
    for one in found:
        assert parse_time(one["until"]) == until.replace(microsecond=0)


@pytest.mark.parametrize(
    ("asked", "about", "moment"),
    [
        ({"kept": BEFORE}, "crm until 2026-11-29 12:00:00 UTC", NOON),
        ({"kept": "crm_noon"}, "crm as of 2026-11-29 12:00:00 UTC", NOON),
        ({"kept": "crm_noon"}, "crm as of now", NOON + timedelta(days=1)),
        ({}, "", NOON + timedelta(days=1)),
        ({"time": "2026-11-29 13:00+01:00"}, "", NOON),
    ],
)
def test_the_files_are_those_of_the_databases_moment(
    asked: dict[str, Any], about: str, moment: datetime
) -> None:
    """O9: The words of a kept database end with its moment. The newest state is that of now."""
    request = parse({"application": "crm", **asked})
    assert restore.since(request, about, NOON + timedelta(days=1)) == moment


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ({"back": 0, "copied": 0, "copy": ""}, "0 removed files came back"),
        (
            {"back": 3, "copied": 2, "copy": "2026-11-29 12:15:00 UTC"},
            "3 removed files came back, 2 came from the copy of 2026-11-29 12:15:00 UTC",
        ),
        (
            {"back": 3, "copied": 0, "copy": "2026-11-29 12:15:00 UTC"},
            "3 removed files came back, 0 came from the copy of 2026-11-29 12:15:00 UTC",
        ),
    ],
)
def test_an_operator_reads_which_files_came_back(found: dict[str, Any], sentence: str) -> None:
    """O9: A copy is named only if there was one to look into."""
    assert restore.came_back(found) == sentence


@pytest.mark.parametrize(
    ("asked", "source", "origin"),
    [({}, "salina_restored", "as of latest"), ({"kept": "crm_noon"}, "crm_noon", "crm_noon")],
)
def test_the_right_database_takes_the_place(
    asked: dict[str, Any], source: str, origin: str
) -> None:
    """O9: The copy or the kept database gets the name, and the current one is kept."""
    found = arguments(asked)
    places = {"application": "crm", "source": source, "kept": OLD, "origin": origin}
    assert found["backup.exchange"] == places
    assert found["fleet.ready"] == found["backup.stop"] == {"hosts": HOSTS}
    assert found["fleet.probe"] == {"hosts": HOSTS, "through": True}


def test_a_copy_gets_the_name_of_the_request() -> None:
    """O9: The copy under a new name touches no host that serves."""
    found = arguments({"name": "crm_copy"})
    assert found["backup.rename"] == {"database": "crm_copy"}
    assert "s1" not in str(found)


@pytest.mark.parametrize("asked", [{}, {"name": "crm_copy"}, {"kept": "crm_noon"}])
def test_no_argument_of_a_step_is_one_of_salts_own(asked: dict[str, Any]) -> None:
    """O9: Salt's state `salt.runner` would take such an argument for its own."""
    own = {"name", "arg", "kwarg", "full_return", "saltenv", "jid"}
    for taken in arguments(asked).values():
        assert not own & set(taken)


def told_all(asked: dict[str, Any], every: Sequence[str] = ALL) -> dict[str, Any]:
    """Return what a request of noon to restore all applications does."""
    return restore.told(parse_all(asked, every), WHERE, KEPT, NOON)


@pytest.mark.parametrize(
    ("asked", "what", "number"),
    [
        ({}, "restore: crm, shop get the state of now", 10),
        (
            {"time": "2026-11-28 12:00", "name": "copy"},
            "restore: crm, shop get the state of 2026-11-28 12:00:00 UTC as crm_copy, shop_copy",
            3,
        ),
    ],
)
def test_o9_a_restore_of_all_is_one_application_after_the_other(
    asked: dict[str, Any], what: str, number: int
) -> None:
    """O9: Each serves again before the next one stops. No two steps have the same name, because
    Salt's states would be one.
    """
    found = told_all(asked)
    assert found["what"] == what
    names = [step["name"] for step in found["steps"]]
    assert len(set(names)) == len(names)
    last = [] if "name" in asked else ["the restore is complete"]
    assert [name.split(": ")[0] for name in names] == ["crm"] * number + ["shop"] * number + last


@pytest.mark.parametrize("asked", [{}, {"time": "2026-11-28 12:00"}, {"name": "copy"}])
def test_o9_each_application_of_several_is_restored_as_one_alone(asked: dict[str, Any]) -> None:
    """O9: Only the names of its steps differ; a name for the copy has its own name before it."""
    steps = told_all(asked)["steps"]
    own = {**asked, "name": "crm_copy"} if "name" in asked else asked
    alone = told(own)["steps"]
    if "name" not in asked:  # the last step is for all of them
        steps, alone = steps[:-1], alone[:-1]
    assert steps[: len(alone)] == [{**one, "name": f"crm: {one['name']}"} for one in alone]
    rest = steps[len(alone) :]
    for step in rest:
        given = step.get("arguments", {})
        assert given.get("application", "shop") == "shop"
        assert given.get("hosts") in (None, ["w1"])
        assert step.get("hosts") in (None, ["w1"])
    [copied] = [step["arguments"] for step in rest if step.get("runner") == "backup.copy"]
    assert copied["about"].startswith("shop as of 2026-11-2")
    kept = [step["arguments"]["kept"] for step in rest if step.get("runner") == "backup.exchange"]
    assert kept == ([] if "name" in asked else ["shop_before_20261129_120000"])


def test_o9_the_steps_for_the_only_application_have_their_usual_names() -> None:
    """O9: A request for all is then the one for this application."""
    assert told_all({}, ["crm"]) == told({})


@pytest.mark.parametrize("kind", ["full", "diff", "incr"])
def test_o9_a_backup_is_mirrored_by_a_step_of_its_own(kind: str) -> None:
    """O9, K5: A place that is away fails that step, and the backup before it was made."""
    made: Any = ("a backup is made", "backup.make", {"kind": kind})
    mirrored: Any = ("the second repository has it", "backup.mirror", {})
    for second, steps in ((True, [made, mirrored]), (False, [made])):
        found = restore.backup(kind, second)
        assert found["what"] == "backup"
        told = [(one["name"], one["runner"], one["arguments"]) for one in found["steps"]]
        assert told == steps
        assert json.loads(json.dumps(found)) == found


def test_o9_a_drill_starts_the_applications_after_the_comparison() -> None:
    """O9, K5: One step restores and compares, and one starts all of them. With a step for each,
    one that does not start would keep the next ones from being tried.
    """
    found = restore.drill(("crm", "shop"), False)
    assert found["what"] == "restore drill"
    together = {"applications": ["crm", "shop"]}
    words = "a process of its own answers with it"
    compared: Any = ("the backup is restored and compared", "backup.drill", {})
    steps = [(one["name"], one["runner"], one["arguments"]) for one in found["steps"]]
    assert steps == [compared, (f"crm, shop: {words}", "backup.drill_applications", together)]
    assert json.loads(json.dumps(found)) == found
    alone = restore.drill(["crm"], False)["steps"]
    assert alone[0] == found["steps"][0]
    assert alone[1]["name"] == f"crm: {words}"
    assert alone[1]["arguments"] == {"applications": ["crm"]}


def test_o9_a_drill_without_applications_only_compares() -> None:
    """O9: A step that starts none would look like one that has tried some."""
    found = restore.drill([], False)
    assert found["what"] == "restore drill"
    assert [one["runner"] for one in found["steps"]] == ["backup.drill"]


def test_o9_a_drill_compares_the_second_repository_whatever_the_first_is_like() -> None:
    """O9, K5: A damaged one keeps no application from its start, and a failed restore of the first
    one is the moment at which the second one matters.
    """
    *before, compared = restore.drill(["crm"], True)["steps"]
    assert before == restore.drill(["crm"], False)["steps"]
    assert (compared["runner"], compared["arguments"]) == ("backup.compare", {})
    assert compared["apart"] and not any("apart" in one for one in before)


def test_the_files_of_a_new_timeline_are_sent() -> None:
    """O9: A later restore finds the timeline of a restored cluster, and its full segments."""
    names = ["archive_status", "00000003.history", "00000004.history", "000000030000000000000052"]
    segments = [f"0000000400000000000000{number}" for number in (52, 53, 54)]
    assert scratch.unsent([*names, *segments]) == ["00000004.history", *segments[:2]]
    assert scratch.unsent([*names, segments[0]]) == ["00000004.history"]


ENDED = (NOON - timedelta(hours=3)).timestamp()
"""When the backup ended from which the cluster comes."""


@pytest.mark.parametrize("others", [[], ["pg-b", "pg-c"]])
def test_a_restored_cluster_has_a_backup_of_its_own(others: list[str]) -> None:
    """O9: The backups before it lead to the lost cluster, so a full one is the last step."""
    found = restore.cluster_steps("pg-a", others, HOSTS, ["crm"], "", ENDED)
    *before, probe, last = found["steps"]
    assert (probe["runner"], last["runner"]) == ("fleet.probe", "backup.make")
    assert last["arguments"] == {"kind": "full"}
    copies = [step["hosts"] for step in before if step["name"] == "the replicas copy it"]
    assert copies == ([others] if others else [])


@pytest.mark.parametrize("until", ["", "2026-11-29 12:00:00.000000+00"])
def test_the_files_of_a_restored_cluster_come_back_too(until: str) -> None:
    """O9: Those of each application, when the cluster answers and before its hosts serve.

    The newest state may be that of the backup, so everything that was removed since comes back.
    """
    applications = ["crm", "shop"]
    steps = restore.cluster_steps("pg-a", ["pg-b"], HOSTS, applications, until, ENDED)["steps"]
    names = [step.get("runner") for step in steps]
    found = [step["arguments"] for step in steps if step.get("runner") == "backup.bring_files"]
    removed = {"until": "2026-11-29T09:00:00+00:00", "copies": False}
    wanted: list[dict[str, Any]] = []
    for name in applications:
        wanted.append({"application": name, "until": until})
        wanted += [] if until else [{"application": name, **removed}]
    assert found == wanted
    labels = [step["name"] for step in steps]
    assert len(set(labels)) == len(labels)  # Salt's states would be one
    assert names.index("backup.make_cluster") < names.index("backup.bring_files")
    assert names.index("backup.bring_files") < names.index("fleet.probe")
    assert not until or parse_time(until) == NOON


@pytest.fixture
def lock_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A place where a test may lock."""
    file = tmp_path / "scratch.lock"
    monkeypatch.setattr(lock, "FILE", str(file))
    return file


def test_one_scratch_cluster_at_a_time(lock_file: Path) -> None:
    """O9: A second restore would delete the scratch cluster of the first one, so it is refused."""
    with lock.alone():
        for _ in range(2):
            with pytest.raises(lock.Busy) as caught, lock.alone():
                pytest.fail("two hold the lock")
            assert str(caught.value) == "another restore or restore drill is running on this host"
    assert lock_file.exists()


@pytest.mark.usefixtures("lock_file")
def test_a_restore_that_ended_or_failed_leaves_no_lock() -> None:
    """O9: The next restore needs no cleaning, although the file stays."""
    with lock.alone():
        pass
    with pytest.raises(ZeroDivisionError), lock.alone():
        raise ZeroDivisionError
    with lock.alone():
        pass
