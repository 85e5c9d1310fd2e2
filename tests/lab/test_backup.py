"""Backup, restore and restore drill on the running lab: O9."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from salina.backup.pgbackrest import GIVEN_UP
from salina.common import wait
from tests.lab import alarms
from tests.lab.lab import (
    LAB,
    changes,
    execute,
    fault,
    heal,
    lab,
    results,
    run,
    salt,
    salt_run,
    shell,
)
from tests.lab.test_health import told, well
from tests.lab.test_rolling import edited
from tests.lab.tiers import DATABASES, all_serve, leader, sql
from tests.lab.traffic import Writer, wait_for

pytestmark = pytest.mark.lab

BACKUP = "bkp1"
REPOSITORY = "/var/lib/pgbackrest"
TABLE = "public.salina_probe"
FILES = "/mnt/nas/crm"
FILES_NAMED = "SELECT count(DISTINCT store_fname) FROM ir_attachment"


def status() -> dict[str, Any]:
    """Return the output of `salt-run backup.status --out=json`."""
    done = salt_run("backup.status")
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == found["retcode"] == int(not found["good"])
    return found


def orchestrate(name: str, /, **pillar: Any) -> subprocess.CompletedProcess[str]:
    """Run an orchestration; what it printed for an operator, and its exit code."""
    given = [f"pillar={json.dumps(pillar)}"] if pillar else []
    return execute("salt", "salt-run", "state.orchestrate", f"orch.{name}", *given)


def succeeded(name: str, /, **pillar: Any) -> None:
    """Run an orchestration that must succeed."""
    done = orchestrate(name, **pillar)
    assert not done.returncode, done.stdout + done.stderr


def kept() -> dict[str, str]:
    """Return the databases that restores have made or kept, and what each is."""
    done = salt_run("backup.kept")
    return {one["name"]: one["about"] for one in json.loads(done.stdout)}


def value(database: str = "crm") -> str:
    """Return the value that `Probe` has written."""
    return sql(leader(), f"SELECT value FROM {TABLE}", database)


def write(number: int) -> str:
    """Write a value; return a moment after it, and let the next change be a later one."""
    sql(leader(), f"UPDATE {TABLE} SET value = {number}", "crm")
    moment = sql(leader(), "SELECT date_trunc('second', clock_timestamp()) + interval '1 second'")
    passed = f"SELECT clock_timestamp() > '{moment}'::timestamptz"
    wait.clear(lambda: "" if sql(leader(), passed) == "t" else "not yet", 10, moment)
    return moment


@pytest.fixture
def probe() -> Iterator[None]:
    """A table of one value in the application's database; and no database is kept at the end."""
    create = f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (value integer)"
    sql(leader(), f"SET ROLE crm; {create}; INSERT INTO {TABLE} VALUES (0)", "crm")
    yield
    sql(leader(), f"DROP TABLE IF EXISTS {TABLE}", "crm")
    for name in kept():
        assert not salt_run("backup.discard", name, f"confirm={name}").returncode
    assert sql(leader(), "SELECT count(*) FROM pg_database WHERE datname LIKE 'crm%'") == "1"


def no_scratch(host: str) -> None:
    """No scratch cluster is left on a host."""
    assert run(host, "systemctl", "is-active", "salina-scratch", check=False).strip() == "inactive"
    assert run(host, "ls", "/var/lib/postgresql/15").split() in ([], ["salina"])


def test_o9_backups_are_made_by_schedule_and_by_hand() -> None:
    """O9: Two timers make the backups, and an operator makes one more; all are in the status."""
    before = status()
    assert before["good"]
    for timer in ("full", "diff"):
        assert run(BACKUP, "systemctl", "is-active", f"salina-backup@{timer}.timer") == "active\n"
    succeeded("backup")
    after = status()
    assert len(after["backups"]) == len(before["backups"]) + 1
    assert after["backups"][0]["kind"] == "diff" and after["age"] < 120
    done = orchestrate("backup", kind="weekly")
    assert done.returncode and "must be full, diff or incr" in done.stdout


def test_x6_a_database_host_deletes_no_backup() -> None:
    """X6, O9: Its login lets a taken database host send WAL, but not touch a backup."""
    newest = status()["backups"][0]["label"]
    attacks = {
        "repo-put backup/salina/backup.info": "Read-only file system",
        f"repo-put backup/salina/{newest}/backup.manifest": "Read-only file system",
        "expire": "must be run on the repository host",
        "backup": "must be run on the repository host",
    }
    for command, refusal in attacks.items():
        asked = f"echo x | pgbackrest --stanza=salina --log-level-console=error {command} 2>&1"
        for host in DATABASES:
            said = run(host, "runuser", "-u", "postgres", "--", "sh", "-c", f"cd /; {asked}; :")
            assert refusal in said, command
    other = "cd /; pgbackrest --stanza=other --log-level-console=error repo-ls 2>&1; :"
    assert "access denied" in run("bbdd1", "runuser", "-u", "postgres", "--", "sh", "-c", other)
    assert status()["backups"][0]["label"] == newest


@pytest.mark.proof
def test_o9_wal_waits_while_the_backup_host_is_away() -> None:
    """O9: The primary keeps its WAL and says so, and nothing is lost when the host is back."""
    primary = leader()
    run(BACKUP, "systemctl", "stop", "pgbackrest")
    try:
        sql(primary, "SELECT pg_current_xact_id(); SELECT pg_switch_wal()")
        said = told(primary, "archiving", 150)
        assert "files of WAL wait on this disk" in said["fleet"]
    finally:
        run(BACKUP, "systemctl", "start", "pgbackrest")
    segment = sql(primary, "SELECT pg_walfile_name(pg_switch_wal())")

    def missing() -> str:
        last = status()["wal"]
        return "" if last >= segment else f"the last is {last}"

    wait.clear(missing, 120, f"WAL {segment} to arrive")
    well()


BALLAST = "/var/lib/postgresql/ballast"
READY = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
SEGMENTS = "SELECT pg_current_xact_id(); SELECT pg_switch_wal();" * 4
STEPS = 60  # of four files of 16 MiB each, which the replica gets as well


@pytest.mark.proof
def test_o9_k5_wal_that_waits_never_fills_the_disk_of_the_primary() -> None:
    """O9, K5: The queue grows, and the alarm comes early. Then the oldest WAL is given up, the
    service goes on, and a gap is a fault until the next backup. The rest of the queue arrives.
    """
    with alarms.sink():
        _fill_with_wal(leader())
    well()


def _fill_with_wal(primary: str) -> None:
    """Fill the disk of the primary with WAL, and let the backup host come back."""

    def mails() -> list[str]:
        return [mail.subject for mail in alarms.problems()]

    free = "df --output=avail --block-size=1M /var/lib/postgresql | tail -1"
    run(BACKUP, "systemctl", "stop", "pgbackrest")
    try:
        shell(primary, f"fallocate --length $(($({free}) - 4000))MiB {BALLAST}")

        def grown(enough: Callable[[], bool]) -> bool:
            before = int(sql(primary, READY))
            for _ in range(STEPS):
                sql(primary, SEGMENTS)
                if enough():
                    return int(sql(primary, READY)) > before
                assert int(shell(primary, free)) > 1000, "the disk fills"
            return False

        def crowded() -> bool:
            waiting, left = 16 * int(sql(primary, READY)), int(shell(primary, free))
            return 4 * waiting > waiting + left

        assert grown(crowded)
        assert "MiB of WAL wait" in told(primary, "room for WAL", 150)["fleet"]
        alarm = f"PROBLEM: {primary} kept_wal is CRITICAL"  # beside that of the backup host
        wait.clear(lambda: "" if alarm in mails() else str(mails()), 180, "a mail")
        assert execute(primary, "test", "-e", GIVEN_UP).returncode
        with Writer() as writer:
            wait_for([writer], 60)
            assert grown(lambda: not execute(primary, "test", "-e", GIVEN_UP).returncode)
            wait_for([writer], 60)
            assert not writer.missing()
        assert int(shell(primary, free)) > 500
    finally:
        run(primary, "rm", "--force", BALLAST)
        run(BACKUP, "systemctl", "start", "pgbackrest")
    assert "no moment from then until" in told(primary, "gap in the WAL")["fleet"]
    wait.clear(lambda: "" if sql(primary, READY) == "0" else "it is not", 300, "an empty queue")
    succeeded("backup")


UPLOAD = """
login()
number = model("ir.attachment", "create", {"name": "salina-backup", "datas": CONTENT})
print(json.dumps(number))
"""
REMOVE = """
login()
model("ir.attachment", "unlink", [NUMBER])
print(json.dumps(True))
"""
COLLECT = """
login()
job = model("ir.model.data", "xmlid_to_res_id", "base.autovacuum_job")
print(json.dumps(model("ir.cron", "method_direct_trigger", [job])))
"""
DOWNLOAD = """
login()
print(json.dumps(hashlib.sha1(get("/web/content/NUMBER?download=1")[2]).hexdigest()))
"""


class Upload:
    """A file that a user uploads."""

    def __init__(self, client: Any) -> None:
        content = os.urandom(50_000)
        encoded = base64.b64encode(content).decode()
        self.client = client
        self.sha1 = hashlib.sha1(content).hexdigest()
        self.path = f"filestore/crm/{self.sha1[:2]}/{self.sha1}"
        self.number = client(UPLOAD.replace("CONTENT", repr(encoded)))

    def remove(self) -> None:
        """Remove the file as the user, and let Odoo collect it."""
        assert self.client(REMOVE.replace("NUMBER", str(self.number))) is True
        self.collect()

    def collect(self) -> None:
        """Let Odoo collect what nobody refers to."""
        assert self.client(COLLECT) is True

    def places(self) -> list[str]:
        """Return where the volume has the file, without the moment of its removal."""
        found = shell("s1", f"cd {FILES}; find . -path '*/{self.sha1}'").split()
        return [re.sub(r"held/[0-9TZ]+/", "held/", path[2:]) for path in found]

    def downloaded(self) -> bool:
        """Return whether the user gets the file, whole."""
        return bool(self.client(DOWNLOAD.replace("NUMBER", str(self.number))) == self.sha1)


@pytest.mark.slow
def test_o9_restored_in_place_and_what_it_replaced_is_kept(probe: None, client: Any) -> None:
    """O9: A moment comes back in place, after the plan was shown, with a file that was removed
    since then; and the rest is kept.
    """
    file = Upload(client)
    moment = write(1)
    file.remove()
    assert file.places() == [f"held/{file.path}"]
    write(2)
    asked = {"application": "crm", "time": moment}
    plan = orchestrate("restore", **asked)
    assert plan.returncode and '"confirm": "crm"}' in plan.stdout and value() == "2"
    succeeded("restore", **asked, confirm="crm")
    assert value() == "1"
    assert file.places() == [file.path] and file.downloaded()
    [(name, about)] = kept().items()
    assert about.startswith("crm until ") and value(name) == "2"
    assert all_serve()
    no_scratch(leader())


def test_o9_files_come_back_from_their_copy(client: Any) -> None:
    """O9: Files that the volume has lost come back from the newest copy, as they were."""
    file = Upload(client)
    assert json.loads(salt_run("backup.copy_files").stdout) == ["nas1"]
    moment = sql(leader(), "SELECT clock_timestamp()")
    before = shell("s1", f"cd {FILES}/filestore; find . -type f -printf '%u %m %p %s\\n' | sort")
    copies = status()["files"]["crm"]
    assert copies["newest"] and copies["size"]
    shell("s1", f"rm -r {FILES}/filestore/crm/*")
    assert json.loads(salt_run("backup.copy_files").stdout) == ["nas1"]  # without these files
    done = salt_run("backup.bring_files", "crm", f"'{moment}'")
    assert not done.returncode, done.stdout + done.stderr
    assert "came from the copy of" in done.stdout
    after = shell("s1", f"cd {FILES}/filestore; find . -type f -printf '%u %m %p %s\\n' | sort")
    # monitoring may have written a file of its own meanwhile
    assert {*before.splitlines()} <= {*after.splitlines()} and file.downloaded()
    file.remove()
    well()


def test_x6_a_storage_host_deletes_no_copy() -> None:
    """X6, O9: The login of a taken storage host adds copies of files, and deletes none."""
    login = shell(BACKUP, "cat /etc/salina/files-repository/password").strip()
    copy = shell(BACKUP, "ls /var/lib/restic/crm/snapshots | head -1").strip()
    curl = ("curl", "--silent", "--cacert", "/etc/salina/tls/ca.crt", "--max-time", "10")
    curl += ("--write-out", "%{http_code}", "--output", "/dev/null", "--config", "-")
    place = "url = https://bkp1:8433/crm/"
    mine = "cert = /etc/salina/tls/files-backup.crt\nkey = /etc/salina/tls/files-backup.key\n"
    user = f'user = "files:{login}"\n'
    assert run("nas1", *curl, given=f"{mine}{user}{place}config\n") == "200"
    attacks = [("config", "DELETE"), ("config", "POST")]
    attacks += [(f"snapshots/{copy}", method) for method in ("DELETE", "POST")]
    for path, method in attacks:
        asked = f"{mine}{user}request = {method}\n{place}{path}\n"
        assert run("nas1", *curl, given=asked) == "403", (path, method)
    assert run("nas1", *curl, given=f"{mine}{place}config\n") == "401"
    assert run("nas1", *curl, given=f"{user}{place}config\n", check=False) == "000"
    assert run("s1", *curl, given=f"{user}{place}config\n", check=False) == "000"
    assert copy in shell(BACKUP, "ls /var/lib/restic/crm/snapshots")


@pytest.mark.proof
def test_o9_another_host_copies_when_the_first_cannot() -> None:
    """O9: Without the first storage host another one copies the files."""
    copies = status()["files"]["crm"]["copies"]
    fault("kill", "nas1")
    try:
        assert json.loads(salt_run("backup.copy_files").stdout)[0] in ("nas2", "nas3")
        assert status()["files"]["crm"]["copies"] == copies + 1
    finally:
        heal("nas1")
    well()


@pytest.mark.proof
def test_o9_a_false_moment_of_a_copy_is_found() -> None:
    """O9, X6: A copy from a taken host that claims another moment keeps the others undeleted."""
    script = """
import json
from salina.backup import files
repository = files.Repository(json.loads(open(files.CONFIGURATION).read()), "crm")
repository.run("backup", "--time=2099-01-01 00:00:00", "/etc/hostname")
"""
    run("nas1", "env", "PYTHONPATH=/usr/local/lib/salina-files", "python3", "-", given=script)
    before = status()["files"]["crm"]["copies"]
    find = "ls -t /var/lib/restic/crm/snapshots | head -1"
    false = shell(BACKUP, find).strip()
    forget = ("systemctl", "start", "--no-block", "salina-files-forget")
    try:
        run(BACKUP, *forget)
        said = "journalctl -u salina-files-forget --since -1min | grep -F 'nothing is deleted'"
        wait.clear(lambda: "" if shell(BACKUP, said, check=False) else "silent", 60, "the refusal")
        assert status()["files"]["crm"]["copies"] == before
    finally:
        shell(BACKUP, f"rm /var/lib/restic/crm/snapshots/{false}")
    run(BACKUP, "systemctl", "stop", "salina-files-forget")
    run(BACKUP, "systemctl", "start", "salina-files-forget")
    assert status()["files"]["crm"]["copies"] == before - 1
    well()


@pytest.mark.slow
def test_o9_a_restore_drill_compares_the_newest_backup(probe: None) -> None:
    """O9: A drill restores all databases without a network, and finds the rows of the primary, and
    each file that they name. The application starts with its restored database.
    """
    write(3)
    succeeded("restore_drill")
    drill = status()["drill"]
    assert drill["served"] == {"crm": ["/web/health", "/web/login"]}
    assert "salina" not in sql(leader(), "SELECT string_agg(datname, ' ') FROM pg_database")
    assert drill["good"] and drill["tables"] > 100 and drill["rows"] > 1000
    assert drill["files"] == int(sql(leader(), FILES_NAMED, "crm")) > 10
    no_scratch(BACKUP)
    well()


@pytest.mark.proof
def test_o9_restored_under_a_new_name_and_put_back(probe: None, client: Any) -> None:
    """O9: A copy gets a name of its own while the application goes on, and the kept one returns,
    with the files that Odoo has collected meanwhile.
    """
    moment = write(1)
    write(2)
    file = Upload(client)
    with Writer() as writer:
        succeeded("restore", application="crm", time=moment, name="crm_copy", confirm="crm")
        wait_for((writer,), 30)
        assert not writer.missing()
    assert (value(), value("crm_copy")) == ("2", "1")
    succeeded("restore", application="crm", kept="crm_copy", confirm="crm")
    [(name, _)] = kept().items()
    assert (value(), value(name)) == ("1", "2")
    file.collect()
    assert file.places() == [f"held/{file.path}"]
    succeeded("restore", application="crm", kept=name, confirm="crm")
    assert value() == "2" and file.downloaded()
    file.remove()


@pytest.mark.proof
def test_o9_a_damaged_byte_is_found(probe: None) -> None:
    """O9: The next drill names the backup with a damaged file, and the status says so."""
    find = f"find {REPOSITORY}/backup/salina/*F/pg_data/base -type f -size +20k | head -1"
    file = shell(BACKUP, find).strip()
    flip = f"cp -p {file} /root/whole; printf X | dd of={file} bs=1 seek=5000 conv=notrunc"
    shell(BACKUP, flip)
    try:
        done = orchestrate("restore_drill")
        assert done.returncode and "status: invalid" in done.stdout
        assert not status()["good"]
        assert "status: invalid" in told(BACKUP, "restore drill")["fleet"]
        no_scratch(BACKUP)
    finally:
        shell(BACKUP, f"cp -p /root/whole {file}; rm /root/whole")
    succeeded("restore_drill")
    well()


@pytest.mark.proof
def test_o9_a_restore_killed_half_way_is_repeated(probe: None) -> None:
    """O9: While the copy is made a kill leaves the old database, and the same command goes on."""
    moment = write(1)
    write(2)
    pillar = json.dumps({"application": "crm", "time": moment, "confirm": "crm"})
    command = [LAB, "salt-run", "state.orchestrate", "orch.restore", f"pillar={pillar}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        active = ("systemctl", "is-active", "salina-scratch")
        begun = wait.until(
            lambda: run(leader(), *active, check=False).strip() == "active", 60, pause=0.2
        )
        run("salt", "pkill", "--signal=KILL", "--full", "salt-run.*orch.restore", check=False)
        run(leader(), "systemctl", "kill", "--signal=KILL", "salt-minion")
        os.killpg(process.pid, signal.SIGKILL)
    assert begun and value() == "2" and all_serve()
    wait.clear(lambda: "" if salt(leader(), "test.ping") else "none", 60, "the minion's answer")
    succeeded("restore", application="crm", time=moment, confirm="crm")
    assert value() == "1"
    no_scratch(leader())


SOON = "/run/systemd/system/salina-backup@.service.d/soon.conf"


@pytest.fixture
def soon() -> Iterator[None]:
    """A backup that fails is made again after a second, and twice only."""
    text = "[Unit]\\nStartLimitBurst=3\\n[Service]\\nRestartSec=1\\n"
    shell(BACKUP, f"mkdir {Path(SOON).parent}; printf '{text}' >{SOON}; systemctl daemon-reload")
    yield
    shell(BACKUP, f"rm -r {Path(SOON).parent}; systemctl daemon-reload")


@pytest.mark.proof
def test_o9_a_scheduled_backup_that_fails_is_made_again(soon: None) -> None:
    """O9: By itself, as soon as the primary answers; after the last attempt, health reports it."""
    primary, unit = leader(), "salina-backup@diff.service"
    before = len(status()["backups"])

    def state() -> str:
        shown = run(BACKUP, "systemctl", "show", unit, "--property=ActiveState", "--value")
        return shown.strip()

    run(primary, "systemctl", "stop", "pgbackrest")
    try:
        assert execute(BACKUP, "systemctl", "start", unit).returncode
        assert state() == "activating"
        run(primary, "systemctl", "start", "pgbackrest")
        assert wait.until(lambda: len(status()["backups"]) == before + 1, 60)
        run(primary, "systemctl", "stop", "pgbackrest")
        assert execute(BACKUP, "systemctl", "start", unit).returncode
        assert wait.until(lambda: state() == "failed", 60), state()
        assert f"failed: {unit}" in told(BACKUP, "units")["fleet"]
    finally:
        run(primary, "systemctl", "start", "pgbackrest")
    succeeded("backup")
    assert state() == "inactive"
    well()


@pytest.mark.proof
def test_o9_a_full_repository_harms_no_earlier_backup() -> None:
    """O9: The backup fails with the reason; with room again the next one is made."""
    place, small = f"{REPOSITORY}/backup", "/run/salina-small"
    before = [one["label"] for one in status()["backups"]]
    shell(
        BACKUP,
        f"mkdir {small}; size=$(($(du --summarize --block-size=1M {place} | cut -f1) + 3))\n"
        f"mount -t tmpfs -o size=${{size}}m tmpfs {small}; cp --archive {place}/. {small}\n"
        f"mount --bind {small} {place}",
    )
    try:
        done = orchestrate("backup", kind="full")
        assert done.returncode and f"0 MiB are free in {place}" in done.stdout, done.stdout
        assert [one["label"] for one in status()["backups"]] == before
    finally:
        shell(BACKUP, f"umount {place}; umount {small}; rmdir {small}")
    succeeded("backup", kind="full")
    succeeded("restore_drill")
    well()


@pytest.mark.proof
def test_o9_a_failover_during_a_backup(probe: None) -> None:
    """O9: The backup fails or is made, the next one is made, and a drill finds every row."""
    moment = write(4)
    primary = leader()
    command = [LAB, "salt-run", "state.orchestrate", "orch.backup", 'pillar={"kind": "full"}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        active = ("systemctl", "show", "--property=ActiveState", "salina-backup@full.service")
        begun = wait.until(lambda: "activating" in run(BACKUP, *active), 60, pause=0.2)
        fault("kill", primary)
        said, _ = process.communicate(timeout=300)
    assert begun and (not process.returncode or "salina-backup@full" in said), said
    heal(primary)
    assert leader() != primary
    succeeded("backup", kind="full")
    succeeded("restore_drill")
    succeeded("restore", application="crm", time=moment, name="crm_before", confirm="crm")
    assert value("crm_before") == "4"
    assert status()["good"]


@pytest.mark.proof
def test_o9_the_whole_cluster_comes_back_from_the_backups(probe: None) -> None:
    """O9, S11: Both database hosts are new and empty; one command brings all databases back."""
    refused = orchestrate("restore_cluster", confirm="all")
    assert refused.returncode and "has the cluster's data" in refused.stdout
    number = random.randrange(10**9)
    write(number)
    assert not salt(leader(), "database_copy.archive")[leader()]
    lab("rebuild", *DATABASES)
    plan = orchestrate("restore_cluster")
    assert plan.returncode and '"confirm": "all"}' in plan.stdout
    succeeded("restore_cluster", confirm="all")
    assert value() == str(number) and all_serve()
    assert not changes(results(salt("bbdd*", "state.apply", "queue=True")))
    succeeded("backup", kind="full")
    succeeded("restore_drill")
    well()


@pytest.mark.proof
def test_o9_a_lost_master_comes_back_from_its_copy() -> None:
    """O9: With the repository, the copy and the operator's key, every minion answers again.

    The copy is encrypted for a key that is nowhere in the fleet, so the backup host cannot read it.
    """
    shell("salt", "umask 077; rm -f /root/key.txt; age-keygen -o /root/key.txt 2>/dev/null")
    key = run("salt", "age-keygen", "-y", "/root/key.txt").strip()
    with edited("pillar/settings/backup.yaml", f"s/^recipient:.*/recipient: {key}/"):
        saved = salt_run("backup.save_master")
        assert not saved.returncode, saved.stdout + saved.stderr
        assert "saved" in status()["master"]["message"]
    path = json.loads(saved.stdout)
    copy = run(BACKUP, "base64", path)
    assert "age-encryption.org" in shell(BACKUP, f"head -c 21 {path}")
    assert shell(BACKUP, f"stat -c '%a %U' {path}") == "600 root\n"
    before = shell("salt", "sha256sum /var/lib/salina/secrets/* /etc/salt/pki/master/master.pem")
    shell("salt", "systemctl stop salt-master; mv /var/lib/salina /root/; mv /etc/salt/pki /root/")
    try:
        decrypt = "base64 -d | age --decrypt --identity /root/key.txt | tar -xz -C /"
        run("salt", "sh", "-c", decrypt, given=copy)
        shell("salt", "systemctl start salt-master; systemctl restart salt-minion")
        found = shell("salt", "sha256sum /var/lib/salina/secrets/* /etc/salt/pki/master/master.pem")
        assert found == before
        assert not salt_run("fleet.ready").returncode
    finally:
        shell(
            "salt",
            "systemctl stop salt-master; rm -rf /var/lib/salina /etc/salt/pki;"
            "mv /root/salina /var/lib/; mv /root/pki /etc/salt/; rm /root/key.txt;"
            "systemctl start salt-master",
        )
    assert not salt_run("fleet.ready").returncode
