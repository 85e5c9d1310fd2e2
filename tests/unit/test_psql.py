"""A session through psql, with a psql that only notes what it is given."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from salina.database.psql import PsqlError, Session, literal, passfile

DATABASE = {"host": "127.0.0.1", "port": 6432, "name": "crm", "user": "crm", "password": "a:b\\c"}
PSQL = """\
import json, os, sys
passfile = os.environ["PGPASSFILE"]
with open(os.environ["NOTES"], "w") as notes:
    json.dump({
        "argv": sys.argv[1:],
        "environment": {k: v for k, v in os.environ.items() if k.startswith("PG")},
        "passfile": open(passfile).read(),
        "mode": oct(os.stat(passfile).st_mode & 0o777),
    }, notes)
if os.environ.get("REFUSE"):
    print("psql: error: connection refused", flush=True)
    sys.exit(2)
for line in sys.stdin:
    line = line.strip()
    if line.startswith("\\\\echo "):
        print(line.removeprefix("\\\\echo "), flush=True)
    elif line.startswith("SELECT two"):
        print("one\\tuno\\ntwo\\tdos")
    elif line.startswith("FAIL"):
        print("ERROR:  no such table", flush=True)
        sys.exit(3)
"""


@pytest.fixture
def psql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "psql"
    program.write_text(f"#!{sys.executable}\n{PSQL}")
    program.chmod(0o755)
    monkeypatch.setenv("NOTES", str(tmp_path / "notes.json"))
    return program


def session(psql: Path) -> Session:
    return Session(DATABASE, "s1: a test", program=str(psql))


def notes(psql: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((psql.parent / "notes.json").read_text())
    return found


def test_the_server_is_verified_where_a_ca_is_given(psql: Path) -> None:
    """S6: Otherwise libpq's own default holds, as on loopback."""
    with Session(DATABASE, "a test", program=str(psql), ca="/etc/salina/tls/ca.crt"):
        given = notes(psql)["environment"]
    assert given["PGSSLMODE"] == "verify-full"
    assert given["PGSSLROOTCERT"] == "/etc/salina/tls/ca.crt"
    with session(psql):
        assert not {"PGSSLMODE", "PGSSLROOTCERT"} & {*notes(psql)["environment"]}


def test_rows(psql: Path) -> None:
    with session(psql) as open_session:
        assert open_session.query("SELECT two") == ["one\tuno", "two\tdos"]
        assert open_session.query("SELECT none") == []


def test_x10_a_statement_may_end_in_a_comment(psql: Path, tmp_path: Path) -> None:
    """X10: The semicolon has a line of its own; otherwise the statement would not run."""
    said = tmp_path / "said"
    noted = f"for line in sys.stdin:\n    open({str(said)!r}, 'a').write(line)\n"
    psql.write_text(psql.read_text().replace("for line in sys.stdin:\n", noted))
    with session(psql) as open_session:
        open_session.query("DELETE FROM mails -- all of them")
    assert "\nDELETE FROM mails -- all of them\n;\n" in f"\n{said.read_text()}"


def test_password_goes_through_a_file_alone(psql: Path) -> None:
    """K4: The password reaches psql through a file, and no argument or variable has it."""
    with session(psql):
        found = notes(psql)
    assert found["passfile"] == "127.0.0.1:6432:crm:crm:a\\:b\\\\c\n"
    assert found["mode"] == "0o600"
    assert "a:b" not in str(found["argv"]) + str(found["environment"])
    assert not Path(found["environment"]["PGPASSFILE"]).exists()


def test_refused_connection(psql: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUSE", "1")
    with pytest.raises(PsqlError, match="connection refused"), session(psql):
        pass


def test_error_ends_the_session(psql: Path) -> None:
    with session(psql) as open_session:
        with pytest.raises(PsqlError, match="no such table"):
            open_session.query("FAIL")
        with pytest.raises(PsqlError):
            open_session.query("SELECT two")
    assert open_session.process.returncode is not None


def test_passfile_is_gone_afterwards() -> None:
    """K4: The file of the password does not outlive the session."""
    with passfile(DATABASE) as path:
        assert os.stat(path).st_mode & 0o077 == 0
    assert not Path(path).exists()


def test_literal() -> None:
    assert literal("set the URL 'x'") == "'set the URL ''x'''"
