"""The release that a database belongs to: checksums, its record, and whether a release fits it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.application import release, schema
from tests.loading import load
from tests.releases import NAME, NEXT, Database, complete

OTHER = "c0ffee000000-89abcdef"
UNKNOWN = "the database does not say which release it belongs to"


# The checksums


def written(place: Path, **files: str) -> Path:
    """Write files, and return their directory."""
    for name, text in files.items():
        path = place / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place


def everything(path: Path) -> bool:
    """Count every file."""
    return True


def test_files_have_the_same_order_on_every_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O8: The order of a directory on the disk does not count."""
    one = written(tmp_path / "one", b="b", a__z="z", a__b__c="c", c="c")
    names = [str(path.relative_to(one)) for path in schema.files(one, everything)]
    assert names == ["a/b/c", "a/z", "b", "c"]
    found = schema.checksum(one, everything)
    usual = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: reversed(sorted(usual(self))))
    assert [str(path.relative_to(one)) for path in schema.files(one, everything)] == names
    assert schema.checksum(one, everything) == found


@pytest.mark.parametrize(
    "files",
    [
        {"a": "1", "b": "3"},
        {"a": "1", "c": "2"},
        {"a": "1"},
        {"a": "1", "b": "2", "c": ""},
        {"a": "2", "b": "1"},
        {"a": "12", "b": ""},
        {"a": "1", "d__b": "2"},
    ],
)
def test_another_name_or_content_is_another_checksum(files: dict[str, str], tmp_path: Path) -> None:
    """O8: A file that was changed, renamed, moved, added or removed is noticed."""
    one = schema.checksum(written(tmp_path / "one", a="1", b="2"), everything)
    assert schema.checksum(written(tmp_path / "other", **files), everything) != one


def test_the_place_and_the_times_of_the_files_do_not_count(tmp_path: Path) -> None:
    """O8: Two hosts have the same checksum, and a directory without files has none in it."""
    one, other = (written(tmp_path / name / "x", a="1", d__b="2") for name in ("one", "other"))
    os.utime(other / "a", (0, 0))
    (other / "a").chmod(0o600)
    (other / "empty").mkdir()
    (other / "broken").symlink_to("nowhere")
    found = schema.checksum(one, everything)
    assert schema.checksum(other, everything) == found
    assert len(found) == schema.DIGITS == len({*found, *"0123456789abcdef"})


def test_some_files_do_not_count(tmp_path: Path) -> None:
    """O8: The rule gets paths inside the directory, and nothing below an excluded directory."""
    asked = list[str]()

    def counts(path: Path) -> bool:
        asked.append(str(path))
        return path.parts[0] != "tests" and path.suffix != ".pyc"

    one = written(tmp_path / "tests", a="1", d__b="2", d__tests__c="3")
    before = schema.checksum(one, counts)
    written(one, tests__a="1", tests__b__c="1")
    (one / "d/b.pyc").touch()
    assert schema.checksum(one, counts) == before
    assert "tests" in asked and not [path for path in asked if path.startswith("tests/")]
    written(one, d__tests__c="4")
    assert schema.checksum(one, counts) != before


def test_a_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    """O8: Files need not be text, and no file has a digest as well."""
    path = tmp_path / "x"
    path.write_bytes(b"\xff\x00")
    assert schema.digest([("x", path)]) == schema.digest(iter([("x", path)]))
    assert len({schema.digest([("x", path)]), schema.digest([("y", path)]), schema.digest([])}) == 3


# The record


class Host:
    """A host with its database, whose application is of the kind `kind`."""

    def __init__(self, place: Path) -> None:
        self.place, self.database = place, Database()
        self.asked: list[tuple[dict[str, str], dict[str, str]]] = []
        self.databases: list[str] = []
        self.differs: list[str] = []
        salt = {"kind.checksums": self.checksums, "kind.differing": self.differing}
        self.module: Any = load("_modules/schema.py", salt=salt, pillar={"app": {"kind": "kind"}})
        self.module.session = self.database.session  # type: ignore[attr-defined]

    def directory(self, name: str) -> str:
        """Return the directory of a release."""
        return str(self.place / "releases" / name)

    def runs(self, name: str) -> None:
        """Let the host run a release."""
        own = complete(Path(self.directory(name)))
        release.activate(self.place / "production", own)

    def checksums(self, directory: str) -> dict[str, str]:
        """Return parts that name the release."""
        return {"crm": Path(directory).resolve().name}

    def differing(self, before: dict[str, str], after: dict[str, str], database: str) -> list[str]:
        """Note the question, and which database the answer is about."""
        self.asked.append((before, after))
        self.databases.append(database)
        return self.differs


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host that runs nothing yet."""
    monkeypatch.setattr(release, "production", lambda kind: str(tmp_path / "production"))
    return Host(tmp_path)


def test_o8_a_database_names_its_release(host: Host) -> None:
    """O8, K1: The record is written once. A name is never a part of the statement."""
    assert host.module.recorded() == {}
    assert host.database.changes == []
    assert host.module.record(host.directory(NAME)) is True
    assert host.module.recorded() == {"release": NAME, "parts": {"crm": NAME}}
    [put] = host.database.changes
    assert put.startswith(f"INSERT INTO {schema.TABLE} ") and "ON CONFLICT" in put
    assert host.module.record(host.directory(NAME)) is False
    assert len(host.database.changes) == 1
    assert host.module.record(host.directory(NEXT), NAME) is True
    assert host.module.recorded() == {"release": NEXT, "parts": {"crm": NEXT}}


def test_k5_a_database_without_a_place_for_its_release() -> None:
    """O8, K5: The error names the hosts that make it, and nothing is written."""
    database: Any = Database()
    usual = database.query
    database.query = lambda sql: ["t"] if "to_regclass" in sql else usual(sql)
    said = "salina.release is missing; apply the states of the database hosts"
    with pytest.raises(ValueError, match=said):
        schema.recorded(database)
    with pytest.raises(ValueError, match=said):
        schema.record(database, NAME, {}, "")
    assert database.changes == []


def test_o8_quotes_in_a_path_are_a_part_of_the_text() -> None:
    """O8: A migration's path can have every character."""
    database, parts = Database(), {"migrations/it's \\ one.js": "00"}
    schema.record(database, NAME, parts, "")  # type: ignore[arg-type]
    assert "it''s" in database.changes[-1]
    found = schema.recorded(database)  # type: ignore[arg-type]
    assert found == {"release": NAME, "parts": parts}


def test_o8_a_table_without_a_row_names_no_release(host: Host) -> None:
    """O8, K2: A host may have been killed between the two statements."""
    host.database.release = "killed"
    host.database.query = lambda sql: ["f"] if "to_regclass" in sql else []  # type: ignore[method-assign]
    assert host.module.recorded() == {}


@pytest.mark.parametrize("name", ["../../etc", "/etc/odoo", f"{NAME}/..", f"{NAME}\n", "x'y", "."])
def test_x10_a_name_that_is_none_is_refused(host: Host, name: str) -> None:
    """X10, K5: The application could write it. It would become a path on the host."""
    host.database.belongs(name, crm="00")
    said = f"{UNKNOWN}: {name!r} is not a release's name"
    for call in (host.module.recorded, lambda: host.module.obstacle(host.directory(NAME))):
        with pytest.raises(CommandExecutionError) as caught:
            call()
        assert str(caught.value).startswith(said)


@pytest.mark.parametrize("parts", [None, [], "crm", 7])
def test_x10_parts_that_are_none_are_refused(host: Host, parts: Any) -> None:
    """X10, K5: The application could write other JSON there."""
    host.database.release, host.database.parts = NAME, parts
    with pytest.raises(CommandExecutionError, match=f"{NAME}' is not .* or it has no parts"):
        host.module.recorded()


@pytest.mark.parametrize("named", [NEXT, NAME])
def test_o8_another_host_was_faster(host: Host, named: str) -> None:
    """O8: The record is refused if the database names a third release by now."""
    usual = host.database.query

    def query(sql: str) -> list[str]:
        if sql.startswith("SELECT pg_advisory_xact_lock"):
            host.database.belongs(named, crm="other")
        return usual(sql)

    host.database.query = query  # type: ignore[method-assign]
    if named == NAME:  # it has recorded the same one
        assert host.module.record(host.directory(NAME)) is True
        assert host.database.release == NAME
        return
    with pytest.raises(CommandExecutionError) as caught:
        host.module.record(host.directory(NAME))
    assert str(caught.value) == f"{UNKNOWN}: it belongs to release {NEXT} meanwhile"
    assert (host.database.changes, host.database.release) == ([], NEXT)


def test_o8_the_order_of_a_record(host: Host) -> None:
    """O8, K2: The lock comes before the question, all in one transaction."""
    said, usual = list[str](), host.database.query

    def query(sql: str) -> list[str]:
        said.append(sql.partition("(")[0].strip())
        return usual(sql)

    host.database.query = query  # type: ignore[method-assign]
    schema.record(host.database, NAME, {}, "")  # type: ignore[arg-type]
    assert [said[0], said[1], said[-1]] == ["BEGIN", "SELECT pg_advisory_xact_lock", "COMMIT"]
    assert said[2] == "SELECT to_regclass"


def test_s9_a_one_time_step_is_the_first_use_of_a_database() -> None:
    """S9: Before that, the database fits every release."""
    database: Any = Database()
    assert schema.used(database) is False
    database.marks = ["initialise"]
    assert schema.used(database) is True
    database.query = lambda sql: ["f"]  # the table has no row
    assert schema.used(database) is False


def test_k5_a_database_that_does_not_answer(host: Host) -> None:
    """K5: The error has what the server said."""
    host.database.down = "the server is away"
    for call in (host.module.obstacle, host.module.record):
        with pytest.raises(CommandExecutionError) as caught:
            call(host.directory(NAME))
        assert str(caught.value) == f"{UNKNOWN}: the server is away"


# Whether a release fits


def answer(name: str, *differing: str, recorded: bool = True) -> dict[str, Any]:
    """Return the answer for a release that differs in some parts."""
    return {"release": name, "differing": [*differing], "recorded": recorded}


def test_o8_the_release_that_the_database_names_fits(host: Host) -> None:
    """O8: No file is read for it, whatever this host runs."""
    host.runs(NEXT)
    host.database.belongs(NAME, crm="whatever")
    assert host.module.obstacle(host.directory(NAME)) == answer(NAME)
    assert host.asked == []


@pytest.mark.parametrize("runs", ["", NAME, NEXT])
def test_o8_another_release_is_compared_with_the_record(host: Host, runs: str) -> None:
    """O8: The checksums in the database count, and not the code that this host runs."""
    if runs:
        host.runs(runs)
    host.database.belongs(NEXT, crm="00")
    assert host.module.obstacle(host.directory(NAME)) == answer(NEXT)
    host.differs = ["crm"]
    assert host.module.obstacle(host.directory(NAME)) == answer(NEXT, "crm")
    assert host.asked == [({"crm": "00"}, {"crm": NAME})] * 2


def test_o8_a_record_without_parts_is_a_record(host: Host) -> None:
    """O8: A release without migrations has no parts."""
    host.runs(OTHER)
    host.database.belongs(NEXT)
    host.differs = ["migrations/1.js"]
    assert host.module.obstacle(host.directory(NAME)) == answer(NEXT, "migrations/1.js")
    assert host.asked == [({}, {"crm": NAME})]


def test_o1_a_copy_may_belong_to_another_release(host: Host) -> None:
    """O1: Its record counts if it is asked, and its parts are compared."""
    host.database.belongs(NAME)
    host.database.others["a_copy"] = Database()
    host.database.others["a_copy"].belongs(NEXT, crm="00")
    host.differs = ["crm"]
    assert host.module.obstacle(host.directory(NAME), "a_copy") == answer(NEXT, "crm")
    assert (host.asked, host.databases) == ([({"crm": "00"}, {"crm": NAME})], ["a_copy"])
    assert host.module.obstacle(host.directory(NAME)) == answer(NAME)


@pytest.mark.parametrize("runs", ["", NEXT])
def test_s9_a_new_database_fits_every_release(host: Host, runs: str) -> None:
    """S9: No application has used it, whatever this host runs."""
    if runs:
        host.runs(runs)
    host.differs = ["crm"]
    assert host.module.obstacle(host.directory(NAME)) == answer("", recorded=False)
    assert host.asked == []


def test_o8_a_database_without_a_record_belongs_to_the_code_that_runs(host: Host) -> None:
    """O8: It is from before there were records, as when a fleet gets this version of Salina."""
    host.runs(NEXT)
    host.database.marks = ["initialise"]
    assert host.module.obstacle(host.directory(NEXT)) == answer(NEXT, recorded=False)
    host.differs = ["crm"]
    assert host.module.obstacle(host.directory(NAME)) == answer(NEXT, "crm", recorded=False)
    assert host.asked == [({"crm": NEXT}, {"crm": NEXT}), ({"crm": NEXT}, {"crm": NAME})]


def test_o8_a_checkout_without_a_record(host: Host) -> None:
    """O8: The code from before there were releases has no name."""
    (host.place / "production").mkdir()
    host.database.marks = ["initialise"]
    host.differs = ["crm"]
    assert host.module.obstacle(host.directory(NAME)) == answer("", "crm", recorded=False)
    assert host.asked == [({"crm": "production"}, {"crm": NAME})]


def test_k5_a_used_database_without_a_record_on_a_host_that_runs_nothing(host: Host) -> None:
    """K5, O8: A new host must not guess. The error says which command settles it."""
    host.database.marks = ["initialise"]
    with pytest.raises(CommandExecutionError) as caught:
        host.module.obstacle(host.directory(NAME))
    said = str(caught.value)
    assert said.startswith(f"{UNKNOWN}, and this host runs none; apply the states of a host ")
    assert said.endswith(f"salt-call schema.record {host.directory(NAME)}")
    assert host.module.record(host.directory(NAME)) is True
    assert host.module.obstacle(host.directory(NAME)) == answer(NAME)
