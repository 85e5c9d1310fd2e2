"""Code and database change together, or not at all (O8)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import client
from lab.paths import MIRROR
from salina.common import wait
from tests.lab import lab, tiers, upstream
from tests.lab.lab import LAB, run, salt, shell
from tests.lab.test_rolling import edited
from tests.lab.tiers import APPS
from tests.lab.traffic import Traffic

pytestmark = [pytest.mark.lab, pytest.mark.proof]

CHECKS = {
    "good.py": "assert 'x_salina' in env['crm.lead']._fields and env.cr.dbname != 'crm'\n",
    "bad.py": "raise SystemExit('a lead is missing')\n",
}
"""Checks of the operator's, by their paths in the code."""
MODULES = "SELECT count(*) FROM ir_module_module WHERE state = 'installed'"
SURE = {"application": "crm", "confirm": "crm"}
DEFINITION = "pillar/app/odoo-14.0.yaml"
BALLAST = "/var/lib/postgresql/ballast"
BROKEN = "/run/systemd/system/odoo.service.d/broken.conf"


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
    with upstream.moved(texts={**upstream.with_column(broken), **CHECKS}):
        upstream.resolve()
        yield json.loads(lab.salt_run("application.revisions").stdout)["crm"]["wanted"]


@pytest.fixture(scope="module")
def former() -> Iterator[str]:
    """The release that runs before these tests and after them."""
    (before,) = runs()
    yield before
    applied()
    assert runs() == {before}
    assert tiers.all_serve()
    for name in databases():
        lab.salt_run("backup.discard", name, f"confirm={name}")


@pytest.fixture(scope="module")
def release(former: str) -> Iterator[str]:
    """A release with another column, which waits on every host. It is built once for all tests."""
    with new_field() as found:
        with Traffic() as traffic:
            wait.clear(lambda: traffic.obstacle(0.0), 60, "the traffic to begin")
            states = applied()
            goes_on(traffic)
        for host in APPS:
            waits = states[host]["application-production"]
            assert waits["result"] is None and not waits["changes"]
            assert "another version of crm; next" in waits["comment"]
        yield found


def goes_on(traffic: Traffic) -> None:
    """Wait for further requests, and check that none has failed."""
    begun = max(each.begun for each in traffic.requests())
    wait.clear(lambda: traffic.obstacle(begun), 60, "the traffic to go on")
    assert traffic.failed() == []


def serves(name: str, column: str) -> None:
    """Check that all hosts run a release with the database that fits it, and no copy is left."""
    assert runs() == {name} and sql(upstream.COLUMN) == column
    assert wait.until(tiers.all_serve, 120), tiers.servers()
    assert "salina_next" not in sql("SELECT string_agg(datname, ' ') FROM pg_database", "postgres")


@contextmanager
def upgrading() -> Iterator[subprocess.Popen[str]]:
    """Run an upgrade until the application has stopped and the copy of its database is there."""
    argv = [LAB, "salt-run", "state.orchestrate", "orch.upgrade", f"pillar={json.dumps(SURE)}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(argv, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]

    def changes() -> bool:
        assert process.poll() is None, process.communicate()[0]
        stopped = lab.execute("s1", "systemctl", "is-active", "odoo").returncode
        names = "SELECT count(*) FROM pg_database WHERE datname LIKE 'salina_next%'"
        return bool(stopped) and sql(names, "postgres") == "1"

    try:
        assert wait.until(changes, 600), "the application does not stop"
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_o8_a_release_waits_for_its_upgrade(former: str, release: str) -> None:
    """O8, S12: An apply under traffic leaves code and database as they are, and a new column waits.

    Without confirmation the upgrade shows its plan, and a rehearsal leaves the database alone.
    """
    serves(former, "0")
    files = "SELECT count(*) FROM ir_attachment"
    before = sql(files)
    code, said = orchestrate("upgrade")
    assert code and "changed: crm" in said and "not rehearsed yet" in said
    assert re.search(r"\n +[0-9a-f]{7,} moved\n", said), said
    code, said = orchestrate("rehearse")
    assert code == 0 and "it answers /web/health, /web/login" in said, said
    assert sql(files) == before
    code, said = orchestrate("upgrade")
    assert code and "the rehearsal took" in said
    serves(former, "0")


def test_o8_an_interrupted_upgrade_lets_the_former_release_serve(former: str, release: str) -> None:
    """O8, K2: Ctrl-C, while the copy changes."""
    with upgrading() as process:
        run("salt", "pkill", "--signal=INT", "--full", "salt-run.*orch.upgrade")
        said, _ = process.communicate(timeout=300)
    assert process.returncode and "it was interrupted" in said, said
    assert f"the former release {former} serves again, with its own data" in said
    serves(former, "0")


def test_o8_a_host_that_dies_leaves_the_others_with_the_former_release(
    former: str, release: str
) -> None:
    """O8, S9: The host that changes the copy. It comes back with the same release."""
    with upgrading() as process:
        lab.fault("kill", "s1")
        try:
            said, _ = process.communicate(timeout=600)
            assert process.returncode and "s1: no answer" in said, said
            assert f"{former} serves again" in said and "on s2, s3" in said
        finally:
            lab.heal("s1")
    lab.lab("salt-run", "fleet.ready")
    applied()
    serves(former, "0")


def test_o8_a_failover_leaves_code_and_database_together(former: str, release: str) -> None:
    """O8, S11: The primary dies while the copy changes."""
    primary = tiers.leader()
    with upgrading() as process:
        lab.fault("kill", primary)
        try:
            said, _ = process.communicate(timeout=900)
        finally:
            lab.heal(primary)
    lab.lab("salt-run", "fleet.ready")
    if process.returncode:
        assert f"the former release {former} serves again" in said, said
    applied()
    if not process.returncode:
        serves(release, "1")
        code, said = orchestrate("rollback", **SURE)
        assert code == 0, said
    serves(former, "0")


def test_o8_the_same_command_goes_on_after_the_master_died(former: str, release: str) -> None:
    """O8, O9, K2: Code and database change together. The rollback says what would be lost, and
    brings both back; repeated, it changes nothing. During the upgrade browsers and programs are
    asked to come again.
    """
    modules = sql(MODULES)
    with client.watching(60) as answers:
        with upgrading():
            run("salt", "pkill", "--signal=KILL", "--full", "salt-run.*orch.upgrade", check=False)
        code, said = orchestrate("upgrade", **SURE)
    assert code == 0, said
    print(said, f"longest time without the page: {client.outage(answers):.0f} s")
    away = [one for one in answers if not client.good(one)]
    assert away and {(one["status"], one["again"]) for one in away} == {(503, "5")}
    serves(release, "1")
    assert sql(MODULES) == modules
    assert lab.changes(applied()) == []
    assert run("s1", "ls", "/mnt/nas/crm/filestore").split() == ["crm"]
    (kept,) = databases()
    assert sql(upstream.COLUMN, kept) == "0"
    code, said = orchestrate("rollback")
    assert code and "lost: what users have changed" in said and kept in said
    serves(release, "1")
    code, said = orchestrate("rollback", **SURE)
    assert code == 0, said
    serves(former, "0")
    replaced = databases()
    code, said = orchestrate("rollback", **SURE)
    assert code == 0 and f"crm got {kept} already" in said, said
    serves(former, "0")
    assert databases() == replaced


def refused(told: str) -> None:
    """Check that an upgrade ends with a reason, while everybody works on as before."""
    with Traffic() as traffic:
        wait.clear(lambda: traffic.obstacle(0.0), 60, "the traffic to begin")
        code, said = orchestrate("upgrade", **SURE)
        assert code and told in said, said
        goes_on(traffic)


def test_o8_a_page_that_fails_keeps_the_release_from_the_users(former: str, release: str) -> None:
    """O8: The rehearsal asks for the pages of the definition, and names the one that fails."""
    with edited(DEFINITION, "s|^pages: .*|pages: [/web/login, /web/nowhere]|"):
        refused("/web/nowhere: ")
    serves(former, "0")


def test_o8_a_check_of_the_operators_keeps_the_release_from_the_users(
    former: str, release: str
) -> None:
    """O8: Its own check runs on the changed copy, and ends the upgrade."""
    with edited(DEFINITION, "s|^pages: .*|&\\nchecks: [good.py, bad.py]|"):
        refused("a lead is missing")
    with edited(DEFINITION, "s|^pages: .*|&\\nchecks: [good.py]|"):
        code, said = orchestrate("rehearse")
        assert code == 0 and "good.py passed" in said, said
    serves(former, "0")


def test_o8_a_full_disk_is_noticed_before_the_copy(former: str, release: str) -> None:
    """O8: The primary has no room for the copy and its WAL."""
    primary = tiers.leader()
    fill(primary, 1500)
    try:
        refused("MiB are free")
    finally:
        run(primary, "rm", BALLAST)
    serves(former, "0")


def fill(host: str, left: int) -> None:
    """Fill the disk of a database host, except for so many MiB."""
    free = "$(df --output=avail --block-size=1M /var/lib/postgresql | tail -1)"
    shell(host, f"fallocate --length $(({free} - {left}))MiB {BALLAST}")


def test_o8_a_disk_that_fills_ends_the_copy(former: str, release: str) -> None:
    """O8: Somebody else fills the primary's disk while the copy is made. The copy goes before the
    service has no room, and nobody's request fails.
    """
    primary = tiers.leader()
    sql("CREATE TABLE salina_hold ()")  # the copy waits for this table, which no user needs
    copies = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'salina_next_crm'"
    free = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '{}%'"
    held = "SELECT pg_sleep(1000)"
    with Traffic() as traffic, ThreadPoolExecutor() as pool:
        wait.clear(lambda: traffic.obstacle(0.0), 60, "the traffic to begin")
        pool.submit(sql, f"BEGIN; LOCK TABLE salina_hold; {held}")
        try:
            asked = pool.submit(orchestrate, "rehearse")
            assert wait.until(lambda: asked.done() or sql(copies) != "0", 600), "no copy"
            assert not asked.done(), asked.result()
            fill(primary, 700)
            code, said = asked.result(300)
            assert code and "the copy of crm was ended" in said, said
        finally:
            run(primary, "rm", "--force", BALLAST)
            sql(free.format(held))
            sql("DROP TABLE salina_hold")
        goes_on(traffic)
    serves(former, "0")
    code, said = orchestrate("rehearse")
    assert code == 0, said


def test_o8_a_host_that_does_not_start_brings_the_former_release_back(
    former: str, release: str
) -> None:
    """O8: The databases have changed places already. They do so once more, and nothing is lost."""
    before = databases()
    with upgrading() as process:
        shell(
            "s1",
            f"mkdir -p {Path(BROKEN).parent}; printf '[Service]\\nExecStartPre=false\\n' >{BROKEN}",
        )
        run("s1", "systemctl", "daemon-reload")
        try:
            said, _ = process.communicate(timeout=900)
        finally:
            run("s1", "rm", BROKEN)
            run("s1", "systemctl", "daemon-reload")
    assert process.returncode and f"the former release {former} serves again" in said, said
    assert "on s2, s3" in said and "s1: " in said
    (failed,) = databases() - before
    assert sql(upstream.COLUMN, failed) == "1"
    applied()
    serves(former, "0")
    assert not lab.salt_run("backup.discard", failed, f"confirm={failed}").returncode


def test_o8_an_upstream_that_is_away_changes_nothing(former: str) -> None:
    """O8: No host has the release, and it can't be built. The same command builds it later."""
    place = Path(MIRROR, "git", f"{upstream.NAME}.git")
    with new_field("\n# away\n"):
        place.rename(away := place.with_suffix(".away"))
        try:
            refused(f"{upstream.NAME}.git")
        finally:
            away.rename(place)
    serves(former, "0")


def test_o8_a_revision_that_does_not_exist_changes_nothing(former: str) -> None:
    """O8: The master names the file and the revision."""
    with edited(DEFINITION, "s|revision: .*|revision: nowhere|"):
        done = lab.salt_run("fleet.resolve")
        assert done.returncode and "nowhere" in done.stdout + done.stderr
        refused("nowhere")
    serves(former, "0")


def test_o8_a_release_whose_module_fails_changes_nothing(former: str) -> None:
    """O8: The rehearsal fails with the reason."""
    with new_field("\nraise ValueError('broken on purpose')\n"):
        refused("broken on purpose")
    serves(former, "0")


HALF_WAY = """

class HalfWay(models.Model):
    _inherit = 'crm.lead'

    def init(self):
        self.env.cr.execute("UPDATE crm_lead SET x_salina = 'half'")
        self.env.cr.commit()
        raise ValueError('broken half-way')
"""


def test_o8_a_module_that_fails_half_way_changes_nothing(former: str) -> None:
    """O8: It has changed the copy already, and that goes. The database has no new column."""
    with new_field(HALF_WAY):
        refused("broken half-way")
    serves(former, "0")
