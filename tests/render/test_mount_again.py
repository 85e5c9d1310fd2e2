"""The program that mounts the volume again: when it does so, and when it leaves the mount alone."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import fleets
from tests.render.minion import Minion

PROGRAM = "/usr/local/sbin/gluster-mount-again"
UNITS = "/etc/systemd/system/gluster-mount-again"
DEAD = "stat: cannot read file system information: Transport endpoint is not connected"
AGAIN = "the volume nas is mounted again at /mnt/nas: "
START = "systemctl start --no-block /mnt/nas"


class Host(NamedTuple):
    """A host on which the program runs, and the programs that it calls, all pretended.

    `active`, `failed` and `enabled` are the units for which systemd says so. `activating` is such a
    unit, too. `client` tells whether the volume's client runs. `said` is the answer of `stat`.
    """

    mounted: bool = True
    client: bool = True
    said: str = ""
    active: str = "/mnt/nas odoo.service"
    activating: str = "none"
    failed: str = "none"
    enabled: str = "odoo.service"


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """The files of an app host."""
    return dict(Minion("s1", fleets.pillar("s1")).files)


def run(program: str, folder: Path, host: Host) -> tuple[str, list[str]]:
    """Run the program on a host; what it says, and what it does."""
    log, mounts = folder / "log", folder / "mounts"
    mounts.write_text("nas1:/nas /mnt/nas fuse.glusterfs rw 0 0\n" if host.mounted else "")
    scripts = {
        "pgrep": f"[ {int(host.client)} = 1 ] && [ \"$2\" = 'glusterfs .* /mnt/nas$' ]",
        "timeout": 'shift; exec "$@"',
        "stat": f'echo "{host.said}"; [ -z "{host.said}" ]',
        "umount": f'echo "umount $*" >> {log}; : > {mounts}',
        "systemctl": f"""
            case "$*" in start*) echo "systemctl $*" >> {log}; exit ;; esac
            quiet=; [ "$1" != --quiet ] || {{ quiet=1; shift; }}
            case $1 in
            is-active) units='{host.active}' ;;
            is-failed) units='{host.failed}' ;;
            is-enabled) units='{host.enabled}' ;;
            esac
            question=$1; shift; found=1
            for unit; do
                state=inactive
                case " $units " in *" $unit "*) state=${{question#is-}}; found=0 ;; esac
                case " {host.activating} " in *" $unit "*) state=activating ;; esac
                [ "$quiet" ] || echo $state
            done
            exit $found""",
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", program.replace("/proc/mounts", str(mounts))],
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, log.read_text().splitlines() if log.exists() else []


LEFT_ALONE = {
    "well": Host(),
    "a client that hangs, or whose bricks are away": Host(said=DEAD),
    "a client with another command line": Host(client=False),
    "an error of another kind": Host(client=False, said="Permission denied"),
    "stopped by an operator, or by a change to the pool": Host(mounted=False, active="none"),
    "waiting for the volume": Host(mounted=False, activating="gluster-mountable.service"),
    "mounted at this moment": Host(mounted=False, activating="/mnt/nas", failed="/mnt/nas"),
}


@pytest.mark.parametrize("host", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_s4_a_mount_is_left_alone(files: dict[str, str], tmp_path: Path, host: Host) -> None:
    """S4: A slow volume keeps its mount, and an operator's decision stands. Nothing is logged."""
    assert run(files[PROGRAM], tmp_path, host) == ("", [])


def test_s4_the_mount_of_a_dead_client_is_taken_away_first(
    files: dict[str, str], tmp_path: Path
) -> None:
    """S4, S12: Lazily, since files may be open. The application is not started, and not stopped."""
    for active in ("/mnt/nas odoo.service", "/mnt/nas"):
        (tmp_path / "log").unlink(missing_ok=True)
        said, done = run(files[PROGRAM], tmp_path, Host(client=False, said=DEAD, active=active))
        assert said == f"{AGAIN}its client died\n"
        assert done == ["umount --lazy /mnt/nas", START]


@pytest.mark.parametrize("failed", ["/mnt/nas", "gluster-mountable.service"])
@pytest.mark.parametrize("enabled", ["odoo.service", "none"])
def test_s4_a_mount_that_failed_is_tried_again(
    files: dict[str, str], tmp_path: Path, failed: str, enabled: str
) -> None:
    """S4: The application comes with it, because it failed with the mount."""
    host = Host(mounted=False, active="none", failed=failed, enabled=enabled)
    said, done = run(files[PROGRAM], tmp_path, host)
    assert said == f"{AGAIN}the last attempt failed\n"
    assert done == [f"{START} odoo.service" if enabled != "none" else START]


def test_s4_a_mount_that_vanished_comes_back(files: dict[str, str], tmp_path: Path) -> None:
    """S4: Its client ended by itself. An operator who stops the mount stops the application."""
    said, done = run(files[PROGRAM], tmp_path, Host(mounted=False, active="odoo.service"))
    assert said == f"{AGAIN}it vanished while odoo.service runs\n"
    assert done == [START]


def test_s4_a_mount_point_with_a_hyphen_has_its_own_unit() -> None:
    """S4: The program names the path, and systemd derives the mount's unit from it."""
    pillar = fleets.pillar("s1")
    pillar["files"]["mount"] = "/srv/crm-files/all"
    found = dict(Minion("s1", pillar).files)
    assert "\nmount=/srv/crm-files/all\n" in found[PROGRAM]
    assert "/mnt/nas" not in found[PROGRAM]


def test_s4_the_mount_is_looked_after(files: dict[str, str]) -> None:
    """S4: Three times a minute, without a line in the journal for a mount that is well."""
    timer, service = files[f"{UNITS}.timer"], files[f"{UNITS}.service"]
    assert "OnActiveSec=20\nOnUnitInactiveSec=20\nAccuracySec=1\n" in timer
    assert "WantedBy=timers.target\n" in timer
    assert f"ExecStart={PROGRAM}\n" in service
    assert "SyslogLevel=notice\nLogLevelMax=notice\n" in service
    assert not [path for path in files if "mnt-nas.mount.d" in path]
