"""A restore drill: the comparison with the primary, pgBackRest's own check, and the record."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from salt.exceptions import CommandExecutionError

from salina.backup import drill, lock, scratch
from salina_fleet import backup
from tests import fleets
from tests.loading import load, never, refusing

Counts = dict[str, tuple[int, int, int]]

TABLE = "public.res_partner"


@pytest.mark.parametrize("end", ["", "\n"])
def test_the_counts_of_a_database_are_read(end: str) -> None:
    """O9: Each table has a line, with its quoted name, its rows, and what came and went."""
    lines = [
        '["public.res_partner", 10, 100, 90]',
        '["public.\\"Old Table\\"", 0, 0, 0]',
        '["other.\\"a\\nb\\"" , 3, 3, 0]',
    ]
    assert drill.parse_counts("\n".join(lines) + end) == {
        TABLE: (10, 100, 90),
        'public."Old Table"': (0, 0, 0),
        'other."a\nb"': (3, 3, 0),
    }


def test_a_database_without_tables_has_no_counts() -> None:
    """O9: The database `postgres` usually has none."""
    assert drill.parse_counts("") == {}


def test_each_table_is_counted_by_a_statement_of_its_own() -> None:
    """O9: No table stays locked while others are counted, and psql runs what the query writes."""
    query, _, command = drill.COUNT.rstrip().rpartition("\n")
    assert command == r"\gexec"
    assert ";" not in query
    assert query.split()[:2] == ["SELECT", "format('SELECT"]
    for part in ("json_build_array(%L, count(*), %s, %s)", "FROM %I.%I'", "relkind = 'r'"):
        assert part in query


def test_a_column_with_files_is_a_plain_one_of_a_table() -> None:
    """O9, X8: A function that an application has put in a view's place never runs as superuser."""
    query, _, command = drill.NAMED.rstrip().rpartition("\n")
    assert command == r"\gexec"
    assert ";" not in query
    for part in ("relkind = 'r'", "FROM ONLY %2$I.%3$I", "'text'::regtype", "= :'column'"):
        assert part in query


def test_files_that_are_in_no_copy_are_a_fault() -> None:
    """O9: The sentence has their number and the first names, and without a fault there is none."""
    assert drill.without("crm", [], 12) == []
    assert drill.without("crm", ["a"], 12) == ["crm: 1 of 12 files are in no copy: a"]
    many = ["a", "b", "c", "d"]
    assert drill.without("crm", many[:3], 12) == ["crm: 3 of 12 files are in no copy: a, b, c"]
    assert drill.without("crm", many, 4) == ["crm: 4 of 4 files are in no copy: a, b, c, …"]


def differences(first: Any, last: Any, found: Any) -> list[str]:
    """Return the differences of counts that arrive as JSON, as from Salt's modules."""
    return drill.differences(*json.loads(json.dumps([first, last, found])))


def one_table(
    first: tuple[int, int, int], last: tuple[int, int, int], rows: int, database: str = "crm"
) -> list[str]:
    """Return the differences of one table that has these counts, and these rows restored."""
    found = {database: {TABLE: (rows, 0, 0)}}
    return differences({database: {TABLE: first}}, {database: {TABLE: last}}, found)


def test_an_equal_cluster_has_no_differences() -> None:
    """O9: Rows are compared in all databases, and the restored statistics do not matter."""
    counts = {"crm": {TABLE: (10, 100, 90), "public.empty": (0, 0, 0)}, "postgres": {}}
    restored = {"crm": {TABLE: (10, 0, 0), "public.empty": (0, 5, 5)}, "postgres": {}}
    assert differences(counts, counts, restored) == []
    assert differences({}, {}, {}) == []


@pytest.mark.parametrize(
    ("last", "rows", "wanted"),
    [
        ((10, 100, 90), 9, "10"),
        ((10, 100, 90), 11, "10"),
        ((10, 100, 90), 0, "10"),
        ((13, 103, 90), 9, "10 to 16"),
        ((13, 103, 90), 17, "10 to 16"),
        ((6, 100, 94), 1, "2 to 10"),
        ((6, 100, 94), 11, "2 to 10"),
        ((12, 105, 93), 6, "7 to 17"),
        ((12, 105, 93), 18, "7 to 17"),
    ],
)
def test_rows_outside_the_bounds_are_a_fault(
    last: tuple[int, int, int], rows: int, wanted: str
) -> None:
    """O9: Too few rows are a fault and too many are one, and the message has the bounds."""
    assert one_table((10, 100, 90), last, rows) == [
        f"crm: {TABLE} has {rows} rows instead of {wanted}"
    ]


@pytest.mark.parametrize(
    ("last", "rows"),
    [
        ((13, 103, 90), 10),
        ((13, 103, 90), 13),
        ((6, 100, 94), 6),
        ((6, 100, 94), 10),
        ((10, 105, 95), 5),
        ((10, 105, 95), 15),
    ],
)
def test_rows_that_came_or_went_meanwhile_are_no_fault(
    last: tuple[int, int, int], rows: int
) -> None:
    """O9: Users go on during a drill, and insert and delete rows between the two counts."""
    assert one_table((10, 100, 90), last, rows) == []


@given(st.integers(0, 50), st.lists(st.booleans(), max_size=60), st.data())
def test_the_work_of_users_never_looks_like_a_fault(
    begin: int, inserts: list[bool], data: st.DataObject
) -> None:
    """O9: The rows of every moment between the two counts are accepted."""
    rows, history = begin, [(begin, 1000, 1000)]
    for insert in inserts:
        if insert or rows:
            rows += 1 if insert else -1
            _, inserted, deleted = history[-1]
            history.append((rows, inserted + insert, deleted + (not insert)))
    moment = data.draw(st.sampled_from(history))
    assert one_table(history[0], history[-1], moment[0]) == []


def test_statistics_that_were_reset_widen_nothing() -> None:
    """O9: After counters begin again at 0, the rows of the two counts are the bounds."""
    assert one_table((10, 100, 90), (10, 0, 0), 10) == []
    assert one_table((10, 100, 90), (12, 0, 0), 11) == []
    assert one_table((10, 100, 90), (10, 0, 0), 9) == [
        f"crm: {TABLE} has 9 rows instead of 10",
    ]


def test_a_missing_table_is_a_fault() -> None:
    """O9: Even an empty table must be there."""
    counts = {"crm": {TABLE: (10, 10, 0), "public.empty": (0, 0, 0)}}
    assert differences(counts, counts, {"crm": {TABLE: (10, 0, 0)}}) == [
        "crm: public.empty is missing"
    ]


def test_a_missing_database_is_one_fault() -> None:
    """O9: A database without tables must be there, and its tables are not listed one by one."""
    counts = {"crm": {TABLE: (10, 10, 0)}, "shop": {}}
    assert differences(counts, counts, {}) == ["crm: is missing", "shop: is missing"]


@pytest.mark.parametrize("created", [True, False])
@pytest.mark.parametrize("restored", [True, False])
def test_what_was_created_or_dropped_meanwhile_is_not_compared(
    created: bool, restored: bool
) -> None:
    """O9: The moment may be before or after the change, so both states are good."""
    stays: dict[str, Counts] = {"crm": {TABLE: (10, 10, 0)}}
    with_table = {"crm": {**stays["crm"], "public.new": (5, 5, 0)}}
    with_database = {**stays, "shop": {TABLE: (3, 3, 0)}}
    for other in (with_table, with_database):
        first, last = (stays, other) if created else (other, stays)
        assert differences(first, last, other if restored else stays) == []


def test_faults_are_in_order() -> None:
    """O9: Each fault names its database and its table."""
    shop: Counts = {"public.b": (1, 1, 0), "public.a": (2, 2, 0)}
    counts = {"shop": shop, "crm": {TABLE: (10, 10, 0)}, "erp": {TABLE: (1, 1, 0)}}
    found = {"shop": {"public.b": (0, 0, 0)}, "erp": {TABLE: (1, 0, 0)}}
    assert differences(counts, counts, found) == [
        "crm: is missing",
        "shop: public.a is missing",
        "shop: public.b has 0 rows instead of 1",
    ]


def test_tables_and_rows_are_counted_in_all_databases() -> None:
    """O9: Two databases may have a table of the same name."""
    assert drill.rows({}) == (0, 0)
    assert drill.rows({"postgres": {}}) == (0, 0)
    found: dict[str, Counts] = {
        "crm": {TABLE: (10, 500, 490), "public.empty": (0, 7, 7)},
        "shop": {TABLE: (5, 5, 0)},
    }
    assert drill.rows(found) == (3, 15)


GOOD = """stanza: salina
status: ok
  archiveId: 15-1, total WAL checked: 30, total valid WAL: 30
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
  backup: 20261129-124146F, status: valid, total files checked: 1273, total valid files: 1273
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0"""
DAMAGED = """stanza: salina
status: error
  archiveId: 15-1, total WAL checked: 30, total valid WAL: 30
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
  backup: 20261129-124146F, status: invalid, total files checked: 1273, total valid files: 1272
    missing: 0, checksum invalid: 1, size invalid: 0, other: 0"""
LOST = """stanza: salina
status: error
  archiveId: 15-1, total WAL checked: 30, total valid WAL: 28
    missing: 2, checksum invalid: 0, size invalid: 0, other: 0
  backup: 20261129-124146F, status: valid, total files checked: 1273, total valid files: 1273
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
  backup: 20261130-124146F, status: manifest missing, total files checked: 0, total valid files: 0
"""


@pytest.mark.parametrize("text", [GOOD, f"{GOOD}\n", f"\n{GOOD}\n\n"])
def test_a_good_repository_is_verified(text: str) -> None:
    """O9: The words `missing` and `invalid` are in a good report too, with the count 0."""
    assert drill.verified(text, "salina") == []


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            DAMAGED,
            [
                "status: error",
                "backup: 20261129-124146F, status: invalid, total files checked: 1273, "
                "total valid files: 1272",
                "missing: 0, checksum invalid: 1, size invalid: 0, other: 0",
            ],
        ),
        (
            LOST,
            [
                "status: error",
                "missing: 2, checksum invalid: 0, size invalid: 0, other: 0",
                "backup: 20261130-124146F, status: manifest missing, total files checked: 0, "
                "total valid files: 0",
            ],
        ),
        ("stanza: salina\nstatus: error\n  No usable backup.info file\n", ["status: error"]),
    ],
)
def test_a_damaged_repository_has_faults(text: str, faults: list[str]) -> None:
    """O9: pgBackRest ends with exit code 0, so its report decides. The faults have no line about
    what is sound.
    """
    assert drill.verified(text, "salina") == faults


@pytest.mark.parametrize("place", range(4))
def test_a_single_count_makes_a_line_a_fault(place: int) -> None:
    """O9: The line of a sound archive has the count 0 four times."""
    parts = drill.WHOLE.split(", ")
    parts[place] = parts[place].replace("0", "10")
    line = ", ".join(parts)
    text = GOOD.replace("status: ok", "status: error").replace(drill.WHOLE, line, 1)
    assert drill.verified(text, "salina") == ["status: error", line]


SILENT = "pgbackrest verify says nothing"


@pytest.mark.parametrize("text", ["", "\n", "stanza: salina\n", GOOD.replace("status: ok\n", "")])
def test_a_report_without_a_status_is_a_fault(text: str) -> None:
    """O9: A repository that was not read is not good."""
    assert drill.verified(text, "salina") == [SILENT]


@pytest.mark.parametrize("stanza", ["other", "sal"])
def test_the_report_of_another_cluster_is_a_fault(stanza: str) -> None:
    """O9: The report must be about this cluster, even if the other one is good."""
    assert drill.verified(GOOD, stanza) == [SILENT]


MOMENT = "2026-11-29 12:00:00.123456+00"
LABEL = "20261129-030000F"


def test_a_good_drill_is_recorded() -> None:
    """O9: The record has the moment, the backup, the size of the comparison, and the duration."""
    found: dict[str, Counts] = {"crm": {TABLE: (10, 0, 0)}, "shop": {TABLE: (5, 0, 0)}}
    assert drill.report([], MOMENT, LABEL, found, 34, 1000.4, 1090.6) == {
        "good": True,
        "faults": [],
        "moment": MOMENT,
        "backup": LABEL,
        "tables": 2,
        "rows": 15,
        "files": 34,
        "seconds": 90,
        "ended": 1091,
        "served": {},
        "failed": {},
        "skipped": [],
    }


def test_a_failed_drill_is_recorded() -> None:
    """O9: One fault is enough, also if nothing was restored."""
    found = drill.report(["crm: is missing"], MOMENT, "", {}, 0, 1000.0, 1000.2)
    assert (found["good"], found["faults"]) == (False, ["crm: is missing"])
    assert (found["tables"], found["rows"], found["seconds"], found["ended"]) == (0, 0, 0, 1000)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (
            [],
            "10 min ago, good: 10 rows in 1 tables as on the primary, and 5 files that they name, "
            "in 90 s",
        ),
        (["crm: a", "crm: b"], "10 min ago, FAILED: crm: a; crm: b"),
    ],
)
def test_an_operator_reads_the_record(faults: list[str], words: str) -> None:
    """O9: The record goes through a file, and `backup.status` shows it."""
    record = drill.report(faults, MOMENT, LABEL, {"crm": {TABLE: (10, 0, 0)}}, 5, 1000, 1090)
    assert backup.drilled(json.loads(json.dumps(record)), 1090 + 600) == words


PAGES = ["/web/health", "/web/login"]


def record(*faults: str) -> dict[str, Any]:
    """Return the record of a drill that has compared one table, as it comes from its file."""
    found = drill.report([*faults], MOMENT, LABEL, {"crm": {TABLE: (10, 0, 0)}}, 5, 1000, 1090)
    return dict(json.loads(json.dumps(found)))


def answered(*pages: str) -> dict[str, Any]:
    """Return the result of an application whose pages answered."""
    return {"pages": [*pages], "fault": ""}


def silent(fault: str, *pages: str) -> dict[str, Any]:
    """Return the result of an application that does not work, although some pages answered."""
    return {"pages": [*pages], "fault": fault}


BOTH = {"crm": answered(*PAGES), "shop": answered("/login")}


def test_o9_applications_that_start_are_recorded() -> None:
    """O9: The record has the pages of each besides."""
    first = drill.finished(record(), {"crm": answered(*PAGES)}, [])
    assert first == {**record(), "served": {"crm": PAGES}}
    both = drill.finished(record(), {**BOTH, "shop": {"pages": ("/login",), "fault": ""}}, [])
    assert both == {**record(), "served": {"crm": PAGES, "shop": ["/login"]}}
    assert json.loads(json.dumps(both)) == both


def test_k5_an_application_that_does_not_start_makes_a_drill_bad() -> None:
    """O9, K5: The fault has its name, and those that did start are in the record all the same. The
    faults are those of the comparison, which was good.
    """
    results = {**BOTH, "crm": silent("s1: /web/login: status 500"), "erp": answered("/")}
    found = drill.finished(record(), results, [])
    assert found == {
        **record(),
        "good": False,
        "faults": [],
        "served": {"shop": ["/login"], "erp": ["/"]},
        "failed": {"crm": "s1: /web/login: status 500"},
    }
    assert json.loads(json.dumps(found)) == found


def test_k5_applications_that_do_not_start_are_all_recorded() -> None:
    """O9, K5: Each keeps its own fault, in the order of the tries."""
    results = {"shop": silent("no answer"), "crm": silent("no luck")}
    found = drill.finished(record(), results, [])
    assert [*found["failed"].items()] == [("shop", "no answer"), ("crm", "no luck")]
    assert (found["good"], found["served"]) == (False, {})


def test_k5_a_fault_has_no_pages() -> None:
    """O9, K5: Pages that answered before the fault do not make an application one that serves."""
    found = drill.finished(record(), {"crm": silent("no luck", *PAGES)}, [])
    assert (found["good"], found["served"], found["failed"]) == (False, {}, {"crm": "no luck"})


@pytest.mark.parametrize("crm", [answered(*PAGES), silent("no luck")])
def test_k5_an_application_that_starts_repairs_no_bad_drill(crm: dict[str, Any]) -> None:
    """O9, K5: The faults of the comparison stay."""
    found = drill.finished(record("crm: is missing"), {"crm": crm}, [])
    assert (found["good"], found["faults"]) == (False, ["crm: is missing"])


@pytest.mark.parametrize("skipped", [["shop"], ("shop", "erp"), []])
def test_o9_applications_that_were_not_started_are_recorded(skipped: Any) -> None:
    """O9: They make no drill bad, and an operator can tell that it says nothing about them."""
    found = drill.finished(record(), {"crm": answered(*PAGES)}, skipped)
    assert found == {**record(), "served": {"crm": PAGES}, "skipped": [*skipped]}
    assert json.loads(json.dumps(found)) == found
    bad = drill.finished(record(), {"crm": silent("no luck")}, skipped)
    assert (bad["good"], bad["skipped"]) == (False, [*skipped])


def test_o9_a_record_from_before_applications_started_has_none() -> None:
    """O9: The file of an older drill is still read."""
    newer = ("served", "failed", "skipped")
    for made in (record(), record("crm: is missing")):
        old = {key: value for key, value in made.items() if key not in newer}
        found = drill.finished(old, {"crm": answered(*PAGES)}, ["shop"])
        assert found == {**made, "served": {"crm": PAGES}, "skipped": ["shop"]}
        assert backup.drilled(old, 1090 + 600) == backup.drilled(made, 1090 + 600)


def test_a_record_that_is_finished_leaves_the_former_one_alone() -> None:
    """O9: A record is a value: the caller's one does not change, nor do the results."""
    before, results, skipped = record(), json.loads(json.dumps(BOTH)), ["erp"]
    found = drill.finished(before, results, skipped)
    found["served"]["crm"].append("/")
    found["skipped"].append("crm")
    assert (before, results, skipped) == (record(), BOTH, ["erp"])


def test_o9_an_operator_reads_which_pages_answered() -> None:
    """O9: They come after the comparison, by application. A bad drill shows its faults alone."""
    found = drill.finished(record(), BOTH, [])
    compared = backup.drilled(record(), 1090 + 600)
    answers = f"{compared}; crm answers /web/health, /web/login; shop answers /login"
    assert backup.drilled(found, 1090 + 600) == answers
    bad = drill.finished(record(), {**BOTH, "erp": silent("s9: no answer")}, [])
    assert backup.drilled(bad, 1090 + 600) == "10 min ago, FAILED: erp: s9: no answer"


def test_o9_an_operator_reads_which_applications_were_not_started() -> None:
    """O9, K5: A good drill says so at its end. Nobody takes it for one of all applications."""
    found = drill.finished(record(), {"crm": answered(*PAGES)}, ["shop", "erp"])
    assert backup.drilled(json.loads(json.dumps(found)), 1090 + 600) == (
        f"{backup.drilled(record(), 1090 + 600)}; crm answers /web/health, /web/login; "
        "not started: shop, erp"
    )
    assert "not started" not in backup.drilled(drill.finished(record(), BOTH, []), 1090 + 600)


def test_k5_an_operator_reads_every_application_that_did_not_start() -> None:
    """O9, K5: They come after the faults of the comparison, each with its name."""
    results = {"crm": silent("no luck"), "shop": silent("s9: no answer"), "erp": answered("/")}
    found = drill.finished(record("crm: a", "crm: b"), results, [])
    words = "10 min ago, FAILED: crm: a; crm: b; crm: no luck; shop: s9: no answer"
    assert backup.drilled(json.loads(json.dumps(found)), 1090 + 600) == words


SIZE = 300 * 2**20
NAMED = f"\\set column public.ir_attachment.store_fname\n{drill.NAMED}"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module on the backup host, whose restored cluster has one database with one table.

    The database belongs to the application, and names two files.
    """
    monkeypatch.setattr(drill, "RECORD", str(tmp_path / "new" / "drill.json"))
    monkeypatch.setattr(drill, "UNFINISHED", str(tmp_path / "new" / "drill-unfinished.json"))
    monkeypatch.setattr(lock, "FILE", str(tmp_path / "lock"))
    answers = {
        drill.DATABASES: "sales",
        drill.COUNT: f'["{TABLE}", 10, 0, 0]',
        NAMED: "ab/abc\ncd/cde",
    }
    salt = {
        "files_repository.check": lambda: None,
        "files_repository.missing": lambda *_: [],
        "pgbackrest.info": lambda: {"backups": [{"label": LABEL, "size": SIZE}]},
        "pgbackrest.verify": lambda: GOOD,
        "scratch.start": lambda _: "",
        "scratch.query": lambda sql, _: answers[sql],
        "scratch.check": lambda: None,
        "scratch.remove": lambda: None,
        "database.query": lambda sql, _="postgres": answers[sql],
    }
    return load("_modules/drill.py", salt=salt, pillar=fleets.pillar("tape", "five-apps"))


def disk(module: Any, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Let so many bytes be free on the disk of the scratch cluster."""

    def usage(path: Path) -> SimpleNamespace:
        assert str(path) == "/var/lib/postgresql"  # a directory that is there before the restore
        return SimpleNamespace(free=free)

    monkeypatch.setattr(module, "shutil", SimpleNamespace(disk_usage=usage))


def test_the_record_of_a_drill_is_kept(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """O9: The first drill makes the record's directory, and the record is what `last` returns."""
    disk(module, monkeypatch, SIZE + scratch.SPARE)
    assert module.last() == {}
    counts = module.count()
    assert counts == {"sales": {TABLE: (10, 0, 0)}}
    found = module.run(MOMENT, counts, counts)
    assert (found["good"], found["faults"], found["backup"]) == (True, [], LABEL)
    assert (found["tables"], found["rows"], found["files"]) == (1, 10, 2)
    assert (module.last(), module.unfinished()) == (found, {})
    assert json.loads(Path(drill.RECORD).read_text()) == found


def test_a_drill_that_does_not_fit_restores_nothing(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: The repository may be on the same disk, so a drill must not fill it."""
    disk(module, monkeypatch, SIZE + scratch.SPARE - 1)
    module.__salt__["scratch.start"] = never
    found = module.run(MOMENT, {}, {})
    assert found["faults"] == ["2348 MiB are needed for the drill, 2347 are free"]
    assert module.last() == found


def test_the_files_that_a_database_names_must_be_in_a_copy(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: They are looked for by their paths in the application's directory, as of the moment."""
    disk(module, monkeypatch, SIZE + scratch.SPARE)
    asked: list[tuple[Any, ...]] = []

    def missing(*arguments: Any) -> list[str]:
        asked.append(arguments)
        return ["filestore/sales/cd/cde"]

    module.__salt__["files_repository.missing"] = missing
    counts = module.count()
    found = module.run(MOMENT, counts, counts)
    assert asked == [
        ("sales", MOMENT, ["filestore/sales/ab/abc", "filestore/sales/cd/cde"]),
    ]
    assert found["faults"] == ["sales: 1 of 2 files are in no copy: filestore/sales/cd/cde"]
    assert (found["good"], found["files"]) == (False, 2)


def test_a_database_that_was_not_restored_names_no_files(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: Its absence is the fault, and the copies need not be read."""
    disk(module, monkeypatch, SIZE + scratch.SPARE)
    module.__salt__["files_repository.missing"] = never
    counts = module.count()
    module.__salt__["scratch.query"] = lambda sql, _: "" if sql == drill.DATABASES else never()
    assert module.run(MOMENT, counts, counts)["faults"] == ["sales: is missing"]


@pytest.mark.parametrize("function", ["check", "missing"])
def test_copies_that_cannot_be_read_are_a_fault(
    module: Any, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """O9, K5: The record has restic's own words, and the restored cluster is removed."""
    disk(module, monkeypatch, SIZE + scratch.SPARE)
    removed: list[str] = []
    module.__salt__["scratch.remove"] = lambda: removed.append("scratch")
    module.__salt__[f"files_repository.{function}"] = refusing("restic check: pack is damaged")
    counts = module.count()
    found = module.run(MOMENT, counts, counts)
    assert (found["good"], found["faults"]) == (False, ["restic check: pack is damaged"])
    assert module.last() == found
    assert removed[-1] == "scratch"


def test_a_second_drill_is_refused(module: Any) -> None:
    """O9: It would delete the scratch cluster of the first one, and it leaves no record."""
    module.__salt__["scratch.remove"] = never
    for pending in (False, True):
        with lock.alone(), pytest.raises(CommandExecutionError, match="another restore or restore"):
            module.run(MOMENT, {}, {}, pending)
    assert (module.last(), module.unfinished()) == ({}, {})


@pytest.fixture
def roomy(module: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with room for a drill."""
    disk(module, monkeypatch, SIZE + scratch.SPARE)
    return module


def compare(module: Any, pending: bool, **found: int) -> dict[str, Any]:
    """Run the first half of a drill. Its comparison is good unless the primary has `rows`."""
    counts = module.count()
    if found:
        counts = {"sales": {TABLE: (found["rows"], 0, 0)}}
    done = module.run(MOMENT, counts, counts, pending)
    assert done["good"] is not bool(found)
    return dict(done)


def test_o9_a_drill_that_waits_for_its_applications_leaves_the_former_record(roomy: Any) -> None:
    """O9, K5: `last` returns the former one, which gets late if the second half never runs."""
    assert compare(roomy, True) == roomy.unfinished()
    assert roomy.last() == {}
    assert not Path(drill.RECORD).exists()
    former = compare(roomy, False)
    roomy.__salt__["pgbackrest.info"] = lambda: {"backups": [{"label": "newer", "size": SIZE}]}
    waiting = compare(roomy, True)
    assert (roomy.last(), roomy.unfinished()) == (former, waiting)
    assert (former["backup"], waiting["backup"]) == (LABEL, "newer")
    assert json.loads(Path(drill.UNFINISHED).read_text()) == waiting


def test_o9_what_applications_answer_completes_a_drill(roomy: Any) -> None:
    """O9: The record is that of the drill that waited, with the results, and none waits now."""
    before = compare(roomy, True)
    assert (before["served"], before["failed"], before["skipped"]) == ({}, {}, [])
    whole = roomy.run(MOMENT, roomy.count(), roomy.count(), False, ["shop (no luck)"])
    assert whole["skipped"] == roomy.last()["skipped"] == ["shop (no luck)"]
    assert compare(roomy, True) == before
    found = roomy.finish({"sales": answered(*PAGES)}, ["shop"])
    assert found == {**before, "served": {"sales": PAGES}, "skipped": ["shop"]}
    assert (roomy.last(), roomy.unfinished()) == (found, {})
    assert json.loads(Path(drill.RECORD).read_text()) == found
    assert not Path(drill.UNFINISHED).exists()


def test_k5_an_application_that_does_not_start_completes_a_bad_drill(roomy: Any) -> None:
    """O9, K5: It takes the place of a good one from before."""
    compare(roomy, False)
    before = compare(roomy, True)
    found = roomy.finish({"sales": answered(*PAGES), "shop": silent("w1: no answer")}, [])
    assert found == {
        **before,
        "good": False,
        "served": {"sales": PAGES},
        "failed": {"shop": "w1: no answer"},
    }
    assert (roomy.last(), roomy.unfinished()) == (found, {})


@pytest.mark.parametrize("pending", [False, True])
def test_k5_a_bad_comparison_waits_for_no_application(roomy: Any, pending: bool) -> None:
    """O9, K5: The operator reads it at once, and an earlier drill waits no more."""
    compare(roomy, True)
    found = compare(roomy, pending, rows=11)
    assert found["faults"] == [f"sales: {TABLE} has 10 rows instead of 11"]
    assert (roomy.last(), roomy.unfinished()) == (found, {})


def test_o9_a_complete_drill_removes_what_waited(roomy: Any) -> None:
    """O9: Applications that start later would be recorded with an older backup."""
    compare(roomy, True)
    found = compare(roomy, False)
    assert (roomy.last(), roomy.unfinished()) == (found, {})


def test_o9_the_next_drill_forgets_what_applications_answered(roomy: Any) -> None:
    """O9: They have not started with its backup yet, and a bad one is not bad for ever."""
    compare(roomy, True)
    bad = roomy.finish({"sales": answered(*PAGES), "shop": silent("no luck")}, ["erp"])
    waiting = compare(roomy, True)
    assert roomy.last() == bad
    assert (waiting["good"], waiting["served"], waiting["failed"]) == (True, {}, {})
    good = roomy.finish({"shop": answered("/login")}, [])
    assert good == {**waiting, "served": {"shop": ["/login"]}}
    assert roomy.last() == good


def test_k5_without_a_drill_that_waits_nothing_is_recorded(roomy: Any) -> None:
    """O9, K5: A record of pages alone would look like one of a good drill."""
    results = {"sales": answered(*PAGES)}
    with pytest.raises(CommandExecutionError, match=r"^no drill waits for its applications$"):
        roomy.finish(results, [])
    assert roomy.last() == {}
    compare(roomy, True)
    found = roomy.finish(results, [])
    with pytest.raises(CommandExecutionError, match=r"^no drill waits for its applications$"):
        roomy.finish({"sales": silent("no luck")}, [])
    assert roomy.last() == found
