"""The programs of a boot: the names are restored, and the wait for the volume has a bound (S4)."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tests import fleets
from tests.render.minion import Minion

HOSTS = "/etc/systemd/system/salina-hosts.service"
SCRIPT = "/usr/local/sbin/gluster-mountable"


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """The files of an app host whose boot waits for the volume for one second."""
    pillar = fleets.pillar("s1")
    pillar["files"]["wait"] = 1
    return dict(Minion("s1", pillar).files)


def command(unit: str) -> list[str]:
    """Return the ExecStart of a unit as arguments."""
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    return shlex.split(line.removeprefix("ExecStart="))


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of programs that stand in for the real ones; `unshare` mounts at the third try."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tries = f"{tmp_path}/tries"
    scripts = {
        "timeout": 'shift; exec "$@"',
        "unshare": f"echo >> {tries}; [ $(wc -l < {tries}) -ge ${{NEEDED:-3}} ]",
        "sleep": ":",
        "getent": '[ "$2" != nas2 ]',
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def wait_for_volume(
    files: dict[str, str], programs: Path, needed: int
) -> subprocess.CompletedProcess[str]:
    """Run the program that waits for the volume, which can be mounted at the `needed` attempt."""
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "NEEDED": str(needed)}
    return subprocess.run(
        ["sh", "-c", files[SCRIPT]], env=environment, capture_output=True, text=True, timeout=30
    )


@pytest.mark.parametrize(
    ("policy", "failed", "rules"),
    [("DROP", 1, 0), ("DROP", 0, 1), ("ACCEPT", 1, 1), ("ACCEPT", 0, 1)],
)
def test_x8_a_boot_closes_the_host_if_ufw_does_not(
    files: dict[str, str], tmp_path: Path, policy: str, failed: int, rules: int
) -> None:
    """X8, S7: Not if ufw did; but if it failed half-way, or is not enabled at all.

    `failed` is the exit code of `systemctl is-failed`, so 0 stands for a failure.
    """
    programs, given = tmp_path / "bin", tmp_path / "given"
    programs.mkdir()
    scripts = {"systemctl": f"exit {failed}"}
    for tool in ("iptables", "ip6tables"):
        scripts[tool] = f"echo '-P INPUT {policy}'"
        scripts[f"{tool}-restore"] = f"cat >>{given}"
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", files["/usr/local/sbin/salina-closed"]],
        env={"PATH": f"{programs}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    text = given.read_text() if given.exists() else ""
    families = 2 if Path("/proc/net/if_inet6").exists() else 1
    assert text.count(":INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n") == rules * families
    assert text.count("-A salina-closed -m conntrack --ctstate RELATED,ESTABLISHED") == (
        rules * families
    )
    assert done.stderr.count("This host is closed") == rules * families


def test_x8_a_boot_looks_after_ufw_and_before_the_network(files: dict[str, str]) -> None:
    """X8: It waits for ufw and does not need it, so a restart of ufw stops nothing."""
    unit = files["/etc/systemd/system/salina-closed.service"]
    assert "\nAfter=ufw.service\n" in unit and "\nBefore=network-pre.target\n" in unit
    assert not [word for word in ("Requires=", "BindsTo=", "PartOf=") if word in unit]


def test_s4_the_wait_ends_when_the_volume_can_be_mounted(
    files: dict[str, str], programs: Path
) -> None:
    patient = files[SCRIPT].replace("$(uptime) + 1)", "$(uptime) + 60)")
    done = wait_for_volume({SCRIPT: patient}, programs, 3)
    assert (done.returncode, done.stdout) == (0, "")


def test_s4_the_wait_has_a_bound_and_says_what_to_look_at(
    files: dict[str, str], programs: Path
) -> None:
    """S4, K5: The message names the storage hosts, and a name that is unknown."""
    done = wait_for_volume(files, programs, 10**9)
    assert done.returncode == 1
    assert done.stdout == (
        "the volume nas could not be mounted within 1 s. Check the storage hosts nas1, nas2, nas3: "
        "one more attempt follows by itself.\nthe name nas2 is unknown; correct /etc/hosts\n"
    )


@pytest.mark.parametrize("content", ["", "127.0.1.1 s1\n", None])
def test_s4_a_boot_restores_the_names(
    files: dict[str, str], tmp_path: Path, content: str | None
) -> None:
    """S4, S15: Whatever /etc/hosts was made of; it says so once, and then has nothing to do."""
    assert files["/etc/salina/hosts"] == files["/etc/hosts"]
    (tmp_path / "salina").mkdir()
    kept, hosts = tmp_path / "salina/hosts", tmp_path / "hosts"
    kept.write_text(files["/etc/salina/hosts"])
    if content is not None:
        hosts.write_text(content)
    argv = [word.replace("/etc/", f"{tmp_path}/") for word in command(files[HOSTS])]
    said = [
        subprocess.run(argv, capture_output=True, text=True, check=bool(count)) for count in (1, 2)
    ]
    assert [one.stdout for one in said] == [f"{hosts} had been changed and was restored\n", ""]
    assert hosts.read_text() == kept.read_text()


def test_s4_the_names_are_there_before_they_are_needed(files: dict[str, str]) -> None:
    """S4: After cloud-init has written its own, and before the network counts as online."""
    unit = files[HOSTS]
    (after,) = [line for line in unit.splitlines() if line.startswith("After=")]
    (before,) = [line for line in unit.splitlines() if line.startswith("Before=")]
    assert {"cloud-init.service", "cloud-init-network.service"} <= {*after[6:].split()}
    assert {"network-online.target", "glusterd.service"} <= {*before[7:].split()}
    assert "After=network-online.target" in files["/etc/systemd/system/gluster-mountable.service"]
