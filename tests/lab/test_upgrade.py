"""Code and database change together, or not at all (O8)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from salina.common import wait
from tests.lab import lab, tiers, upstream
from tests.lab.lab import run, salt, shell
from tests.lab.tiers import APPS
from tests.lab.traffic import Traffic

pytestmark = [pytest.mark.lab, pytest.mark.proof]

LEAD = "addons/crm/models/crm_lead.py"
FIELD = "    phone = fields.Char("
COLUMN = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'x_salina'"
MODULES = "SELECT count(*) FROM ir_module_module WHERE state = 'installed'"
SURE = {"application": "crm", "confirm": "crm"}


def orchestrate(name: str, **pillar: str) -> tuple[int, str]:
    """Run an orchestration, and return its exit code and what it said."""
    given = f"pillar={json.dumps(pillar)}"
    done = lab.execute(lab.master(), "salt-run", "state.orchestrate", f"orch.{name}", given)
    return done.returncode, done.stdout + done.stderr


def sql(statement: str, database: str = "crm") -> str:
    """The value that a statement gives on the primary."""
    return tiers.sql(tiers.leader(), statement, database).strip()


def databases() -> set[str]:
    """The names of the databases that restores and upgrades have made or kept."""
    found = json.loads(lab.salt_run("backup.kept").stdout)
    return {one["name"] for one in found}


def runs() -> set[str]:
    """The releases that the app hosts run."""
    shown = json.loads(lab.salt_run("application.revisions").stdout)["crm"]["hosts"]
    return {one["runs"] for one in shown.values()}


def applied() -> lab.Results:
    """Apply the states of all app hosts, which must not fail."""
    found = lab.results(salt("-L", ",".join(APPS), "state.apply"))
    assert lab.failures(found) == []
    return found


@contextmanager
def new_field(broken: str = "") -> Iterator[str]:
    """Move the branch to a commit with another column, and return the release that waits."""
    former = upstream.git("show", f"{upstream.git('rev-parse', 'refs/heads/14.0')}:{LEAD}")
    assert former.count(FIELD) == 1
    text = former.replace(FIELD, f"    x_salina = fields.Char('Salina')\n{FIELD}") + broken
    with upstream.moved(texts={LEAD: text}):
        upstream.resolve()
        yield json.loads(lab.salt_run("application.revisions").stdout)["crm"]["wanted"]


@pytest.fixture
def former() -> Iterator[str]:
    """The release that runs before a test and after it."""
    (before,) = runs()
    yield before
    applied()
    assert runs() == {before}
    assert tiers.all_serve()
    for name in databases():
        lab.salt_run("backup.discard", name, f"confirm={name}")


def test_o8_a_release_waits_until_the_upgrade_and_goes_with_the_rollback(former: str) -> None:
    """O8, S12: An apply leaves code and database as they are. The upgrade changes both, and the
    rollback brings both back. Meanwhile a user sees the page that says so, and no error.
    """
    modules = sql(MODULES)
    with new_field() as release:
        with Traffic() as traffic:
            wait.clear(lambda: traffic.obstacle(0.0), 60, "the traffic to begin")
            found = applied()
            begun = max(each.begun for each in traffic.requests())
            wait.clear(lambda: traffic.obstacle(begun), 60, "the traffic to go on")
            assert traffic.failed() == []
        for states in found.values():
            waits = states["application-production"]
            assert waits["result"] is None and not waits["changes"]
            assert "another version of crm; next" in waits["comment"]
        assert runs() == {former} and sql(COLUMN) == "0"
        code, said = orchestrate("upgrade")
        assert code and "changed: crm" in said and "not rehearsed yet" in said
        assert runs() == {former} and sql(COLUMN) == "0"
        begun = time.monotonic()
        code, said = orchestrate("upgrade", **SURE)
        print(f"the upgrade took {time.monotonic() - begun:.0f} s\n{said}")
        assert code == 0, said
        assert runs() == {release} and sql(COLUMN) == "1"
        assert sql(MODULES) == modules
        assert tiers.all_serve()
        assert lab.changes(applied()) == []
        (kept,) = databases()
        assert sql(COLUMN, kept) == "0"
        code, said = orchestrate("rollback")
        assert code and "lost: what users have changed" in said and kept in said
        assert runs() == {release}
        code, said = orchestrate("rollback", **SURE)
        assert code == 0, said
        assert runs() == {former} and sql(COLUMN) == "0"
        assert tiers.all_serve()


def test_o8_a_release_whose_module_fails_changes_nothing(former: str) -> None:
    """O8: The rehearsal fails with the reason, while everybody works on as before."""
    with new_field("\nraise ValueError('broken on purpose')\n") as release:
        with Traffic() as traffic:
            wait.clear(lambda: traffic.obstacle(0.0), 60, "the traffic to begin")
            code, said = orchestrate("upgrade", **SURE)
            assert code and "broken on purpose" in said, said
            begun = max(each.begun for each in traffic.requests())
            wait.clear(lambda: traffic.obstacle(begun), 60, "the traffic to go on")
            assert traffic.failed() == []
        assert runs() == {former} and release not in runs()
        assert sql(COLUMN) == "0"
        names = sql("SELECT string_agg(datname, ' ') FROM pg_database", "postgres")
        assert "salina_next" not in names
        assert shell("s1", "ls /mnt/nas/crm/filestore").split() == ["crm"]
        assert run("s1", "systemctl", "is-active", "odoo").strip() == "active"
