"""O9: a whole site is lost. All that is left is the second repository, and the operator's key.

The steps are those of docs/operations.md, in their order. The master plays the place outside, so
its machine stays, but all that it knows is gone.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests import fleets
from tests.lab import tiers
from tests.lab.lab import fault, lab, run, salt, salt_run, shell
from tests.lab.test_backup import BACKUP, Upload, status, succeeded
from tests.lab.test_health import well
from tests.lab.test_rolling import applied
from tests.lab.test_second import MASTER, PLACE, mirrored, placed

pytestmark = [pytest.mark.lab, pytest.mark.proof]

FLEET = fleets.fleet()
HOSTS = [host for host in FLEET.hosts if host != MASTER]
FIRST = {host.id for role in ("firewall", "storage", "quorum") for host in FLEET.having(role)}
KEY, LOST = "/root/salina-site-key.txt", "/root/salina-lost"
KNOWN = "/var/lib/salina/secrets/* /etc/salt/pki/master/master.pem /etc/salt/pki/master/minions/*"
PARAMETER = "salina.test.site"


def done(*arguments: str) -> Any:
    """Run a runner that must succeed, and return its answer."""
    found = salt_run(*arguments)
    assert not found.returncode, found.stdout + found.stderr
    return json.loads(found.stdout)


def keep(value: str) -> None:
    """Write a value into the database of the application."""
    tiers.sql(
        tiers.leader(),
        f"INSERT INTO ir_config_parameter (key, value) VALUES ('{PARAMETER}', '{value}') "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        "crm",
    )


def kept() -> str:
    """Return the value."""
    asked = f"SELECT value FROM ir_config_parameter WHERE key = '{PARAMETER}'"
    return tiers.sql(tiers.leader(), asked, "crm").strip()


@contextmanager
def master_lost() -> Iterator[None]:
    """Take from the master all that it knows.

    If nobody has brought it back at the end, it gets its own again, for the tests that follow.
    """
    stop = "systemctl stop salt-master"
    shell(
        MASTER,
        f"{stop}; mkdir {LOST}; mv /var/lib/salina {LOST}/salina; mv /etc/salt/pki {LOST}/pki",
    )
    try:
        yield
    finally:
        back = f"rm -rf /var/lib/salina /etc/salt/pki; mv {LOST}/salina /var/lib/; "
        back += f"mv {LOST}/pki /etc/salt/; systemctl start salt-master"
        whole = "test -e /etc/salt/pki/master/master.pem && test -d /var/lib/salina/secrets"
        shell(MASTER, f"{whole} || {{ {stop}; {back}; }}; rm -rf {LOST} {KEY}")


def test_o9_the_whole_site_comes_back(client: Any) -> None:
    """O9, S11: Every host is new and empty, and the master knows nothing. With the mirror and the
    operator's key the database, with the changes after its last backup, and users' files are back,
    and no minion needs another key.
    """
    file = Upload(client)
    shell(MASTER, f"umask 077; rm -f {KEY}; age-keygen -o {KEY} 2>/dev/null")
    recipient = run(MASTER, "age-keygen", "-y", KEY).strip()
    with placed(f"s/^recipient:.*/recipient: {recipient}/"):
        applied(BACKUP)
        succeeded("backup")
        value = uuid.uuid4().hex
        keep(value)
        assert not salt(tiers.leader(), "database_copy.archive")[tiers.leader()]
        done("backup.copy_files")
        done("backup.save_master")
        mirrored()
        window = status()["window"]
        known = shell(MASTER, f"sha256sum {KNOWN}")
        releases = {name: one["wanted"] for name, one in done("application.revisions").items()}

        fault("kill", *HOSTS)
        with master_lost():
            # 1 and 2: the master
            saved = f"{PLACE}/files/salina/master"
            newest = shell(MASTER, f"ls {saved}/*.age").split()[-1]
            shell(MASTER, f"age --decrypt --identity {KEY} {newest} | tar -xz -C /")
            shell(MASTER, "systemctl start salt-master; systemctl restart salt-minion")
            assert shell(MASTER, f"sha256sum {KNOWN}") == known
            # 3: new machines, with their user data
            lab("rebuild", *HOSTS)
            done("fleet.ready")
            # 4: the firewall and the storage hosts, whose copies would be those of empty volumes
            applied(",".join(FIRST))
            for host in tiers.STORAGE:
                assert salt(host, "service.stop", "salina-files.timer")[host] is True
            # 5: the backup host
            applied(BACKUP)
            assert "archive.info" in shell(BACKUP, "find /var/lib/pgbackrest -name archive.info")
            # 6: the balancer can ask app hosts, and the directory of each application
            for balancer in FLEET.having("balancer"):
                [found] = salt(balancer.id, "state.apply", "common").values()
                assert all(one["result"] is not False for one in found.values()), found
            for name in FLEET.topology.applications:
                host = FLEET.serving(name)[0].id
                [found] = salt(host, "state.apply", "common,application.directories").values()
                assert all(one["result"] is not False for one in found.values()), found
            # 7: the releases, whose archives were on the volume
            for name, release in releases.items():
                done("application.forget", name, release)
            # 8: the database and users' files
            succeeded("restore_cluster", confirm="all")
            # 9: the rest
            deployed = salt_run("fleet.deploy")
            assert not deployed.returncode, deployed.stdout + deployed.stderr

        assert kept() == value
        assert file.downloaded()
        after = status()
        assert after["window"] == window
        assert after["backups"][0]["kind"] == "full"
        for host in tiers.STORAGE:
            assert shell(host, "systemctl is-active salina-files.timer") == "active\n"
        well()
    tiers.sql(tiers.leader(), f"DELETE FROM ir_config_parameter WHERE key = '{PARAMETER}'", "crm")
    well()
