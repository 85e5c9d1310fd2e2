"""O9: the second repository, and a backup host that burns. The master plays the place outside.

It runs an SFTP server of rclone, in the network that the backup host has in common with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from salina.backup.second import MARK, RECORD, SETTINGS
from salina.common import wait
from tests import fleets
from tests.lab.lab import execute, run, salt, salt_run, shell
from tests.lab.test_backup import BACKUP, orchestrate, status
from tests.lab.test_health import well
from tests.lab.test_rolling import applied, edited

pytestmark = [pytest.mark.lab, pytest.mark.proof]

UNIT, PORT = "salina-test-second", 2222
PLACE = f"/root/{UNIT}"
SECRET = "/var/lib/salina/secrets/second-sftp"
[MASTER] = [host.id for host in fleets.fleet().having("master")]
ADDRESS = fleets.fleet().hosts[MASTER].addresses["management"]
SOURCE = fleets.fleet().hosts[BACKUP].addresses["management"]
DIRECTORIES = "/var/lib/pgbackrest /var/lib/restic /var/lib/salina-master /var/lib/salina-second"
MARKS = f"/var/lib/restic/crm/{MARK}"
UNITS = (
    "salina-second.timer salina-backup@full.timer salina-backup@diff.timer "
    "salina-files-forget.timer salina-files-repository pgbackrest"
)
OPENSSH = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
PRIVATE = (
    serialization.Encoding.PEM,
    serialization.PrivateFormat.OpenSSH,
    serialization.NoEncryption(),
)


def put(path: str, content: bytes) -> None:
    """Write a file on the master that only root may read."""
    run(MASTER, "sh", "-c", f"umask 077; cat >{path}", given=content.decode())


def start() -> None:
    """Start the SFTP server, and wait until it accepts connections."""
    serve = f"rclone serve sftp {PLACE}/files --addr {ADDRESS}:{PORT} --config /dev/null"
    keys = f"--key {PLACE}/server --authorized-keys {PLACE}/authorized"
    keys += " --dir-cache-time 0s"  # the tests delete files without it
    shell(MASTER, f"systemd-run --quiet --unit={UNIT} {serve} {keys}")
    asked = f"ss -Hltn sport = :{PORT}"
    wait.clear(lambda: "" if shell(MASTER, asked).strip() else "silent", 20, "the SFTP server")


def stop() -> None:
    """Stop it."""
    shell(MASTER, f"systemctl stop {UNIT}", check=False)


@pytest.fixture
def place() -> Iterator[ed25519.Ed25519PrivateKey]:
    """A place that the fleet's settings name, with its login among the secrets."""
    with placed() as own:
        yield own


@contextmanager
def placed(settings: str = "") -> Iterator[ed25519.Ed25519PrivateKey]:
    """Give the fleet a place, with its login among the secrets. Afterwards it has none again.

    Args:
        settings: a script of sed, which changes pillar/settings/backup.yaml as well.

    Yields:
        The login.
    """
    own, server = (ed25519.Ed25519PrivateKey.generate() for _ in range(2))
    shell(
        MASTER,
        f"apt-get install -qq -y --no-install-recommends rclone; mkdir -p {PLACE}/files/salina",
    )
    put(f"{PLACE}/server", server.private_bytes(*PRIVATE))
    put(f"{PLACE}/authorized", own.public_key().public_bytes(*OPENSSH))
    put(f"{PLACE}/own", own.private_bytes(*PRIVATE))
    # a chain whose rules the health check of the firewall does not compare
    accept = f"ufw-before-input -p tcp -s {SOURCE} -d {ADDRESS} --dport {PORT} -j ACCEPT"
    shell(MASTER, f"iptables -I {accept}")
    known = server.public_key().public_bytes(*OPENSSH).decode()
    second = (
        f"second: {{kind: sftp, host: {ADDRESS}, port: {PORT}, user: salina, path: /salina, "
        f"host_keys: [{known}]}}"
    )
    way = f"  - {{role: backup, ports: {PORT}, comment: second repository}}"
    try:
        start()
        with (
            edited("pillar/settings/firewall.yaml", f"s|^egress:$|&\\n{way}|"),
            edited("pillar/settings/backup.yaml", f"s|^second: null$|{second}|;{settings}"),
        ):
            done = salt_run("secrets.second", f"{PLACE}/own")
            assert not done.returncode, done.stdout + done.stderr
            yield own
    finally:
        stop()
        shell(MASTER, f"iptables -D {accept}; rm -rf {PLACE} {SECRET}")
        applied(BACKUP)
    assert "second" not in status()
    timer = execute(BACKUP, "systemctl", "is-active", "salina-second.timer")
    assert timer.stdout.strip() == "inactive"
    well()


def repositories(found: dict[str, Any], skipped: int = 0) -> tuple[Any, ...]:
    """Return what can be restored: the window, and the backups without some new ones."""
    return found["window"], [one["label"] for one in found["backups"]][skipped:]


def mirrored() -> None:
    """Bring the second repository up to date."""
    done = salt_run("backup.mirror")
    assert not done.returncode, done.stdout + done.stderr


def test_o9_a_damaged_second_repository_is_a_fault(place: ed25519.Ed25519PrivateKey) -> None:
    """O9, K5: A drill restores the first repository all the same, starts the applications, and
    records that; health names the damaged file until it is deleted and sent again.
    """
    applied(BACKUP)
    mirrored()
    first = status()["drill"].get("ended", 0)
    find = f"find {PLACE}/files -name backup.manifest"
    shell(MASTER, f"{find} -exec sh -c 'printf X | dd of=$1 bs=1 conv=notrunc' - {{}} \\;")

    done = orchestrate("restore_drill")
    assert done.returncode and "damaged at the second place: pgbackrest/" in done.stdout
    found = status()
    assert found["drill"]["ended"] > first and found["drill"]["good"]
    assert found["drill"]["served"] == {"crm": ["/web/health", "/web/login"]}
    said = salt_run("fleet.health")  # the lab's own status does not know this setting
    assert said.returncode and "damaged: pgbackrest/" in said.stdout, said.stdout

    shell(MASTER, f"{find} -delete")
    mirrored()
    assert salt_run("fleet.health").returncode
    done = salt_run("backup.compare")
    assert not done.returncode and "files were compared" in done.stdout, done.stdout + done.stderr
    said = salt_run("fleet.health")
    assert not said.returncode, said.stdout


def test_o9_s6_a_burnt_backup_host_gets_all_back(place: ed25519.Ed25519PrivateKey) -> None:
    """O9, S6: A new backup host has the same window and the same copies as before, and never begins
    an empty repository while the place does not answer. The login is in one file of root. A host
    with earlier marks changes nothing at the place, until it is declared the right one.
    """
    applied(BACKUP)
    before = status()
    mirrored()
    assert status()["second"]["record"]["files"] > 100
    assert shell(BACKUP, f"stat -c %a:%U {SETTINGS}") == "600:root\n"
    line = place.private_bytes(*PRIVATE).decode().splitlines()[2]
    kept = f"grep -rlF {line} /var/cache/salt /var/log/salt"
    assert [shell(host, kept, check=False) for host in (MASTER, BACKUP)] == ["", ""]

    shell(BACKUP, f"sed -i 's/.began.: [0-9.]*/\"began\": 0/' {RECORD}")
    said = salt_run("fleet.health")  # the lab's own status does not know this setting
    assert said.returncode and "the last mirror is" in said.stdout, said.stdout
    assert any("second repository" in one for one in status()["late"])
    assert not salt_run("backup.compare").returncode
    compared = salt(BACKUP, "second_repository.state")[BACKUP]["compared"]
    assert compared["files"] > 10 and not compared["damaged"]
    earlier = shell(BACKUP, f"cat {MARKS}")

    shell(BACKUP, f"systemctl stop {UNITS}; rm -rf {DIRECTORIES}")
    stop()
    [states] = salt(BACKUP, "state.apply").values()
    refused = [one["comment"] for one in states.values() if one["result"] is False]
    assert any("the second place: " in one for one in refused), refused
    assert "archive" not in shell(BACKUP, "find /var/lib/pgbackrest -name archive.info")
    start()
    applied(BACKUP)

    after = status()
    assert repositories(after, 1) == repositories(before)
    copies = {name: one["copies"] for name, one in before["files"].items()}
    assert all(after["files"][name]["copies"] >= count for name, count in copies.items())
    assert after["backups"][0]["kind"] == "full"
    plan = orchestrate("restore", application="crm")
    assert plan.returncode and '"confirm": "crm"' in plan.stdout
    mirrored()
    assert shell(BACKUP, "systemctl is-active salina-second.timer") == "active\n"
    run(BACKUP, "sh", "-c", f"cat >{MARKS}", given=earlier)  # as if the burnt host came back
    done = salt_run("backup.mirror")
    assert done.returncode and "is that of another host" in done.stdout + done.stderr
    claimed = salt(BACKUP, "second_repository.claim", f"confirm={BACKUP}")[BACKUP]
    assert claimed == ["/var/lib/restic/crm"]
    mirrored()
    well()
