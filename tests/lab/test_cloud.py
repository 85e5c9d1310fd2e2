"""Hosts that come and go in the lab, by the master's provisioner and by `bin/lab` (S10).

They are bare: what makes them part of the service is tested elsewhere. s9 and s10, which no other
test uses, are gone when a test ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from lab.cloud import server
from lab.machines import inventory, minions, topology_file
from lab.machines.keys import generate
from lab.paths import CLOUD_LOG, CONTAINERS, KEYS
from lab.process import wait_until
from salina_fleet.provision import userdata
from tests import fleets
from tests.lab import lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]

HOSTS = ("s9", "s10")
ACCEPTED = "/etc/salt/pki/master/minions"
UNFINISHED = "/var/lib/salina/unfinished.json"
LOCK = "/var/lib/salina/lock"
BARE = """
    systemctl --quiet disable --now salt-minion
    rm -rf /etc/salt/minion /etc/salt/minion.d/salina.conf /etc/salt/pki/minion
    echo debian >/etc/hostname

    # cloud-init asks for the package salt-minion; here Salt is a part of the image
    mkdir -p /root/image/DEBIAN
    printf '%s\\n' 'Package: salt-minion' 'Version: 3008' 'Architecture: all' \\
        'Maintainer: Salina <salina@example.com>' 'Description: Salt' >/root/image/DEBIAN/control
    dpkg-deb --build /root/image /root/salt-minion.deb >/dev/null
    dpkg --install /root/salt-minion.deb >/dev/null

    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qqy install cloud-init >/dev/null
    mkdir -p /var/lib/cloud/seed/nocloud
    echo 'instance-id: s9' >/var/lib/cloud/seed/nocloud/meta-data
    printf '%s\\n' 'datasource_list: [NoCloud]' 'network: {config: disabled}' \\
        'apt: {preserve_sources_list: true}' >/etc/cloud/cloud.cfg.d/99-lab.cfg
"""
"""Makes a host as bare as an image with Salt and cloud-init, which has not started yet."""
SEED = "/var/lib/cloud/seed/nocloud/user-data"
RESULT = "/run/cloud-init/result.json"
"""cloud-init writes it when all of its modules have run."""


def bin_lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([lab.LAB, *arguments], capture_output=True, text=True)


@cache
def configured() -> str:
    """The provisioner, as the master's configuration names it."""
    shown = lab.run("salt", "salt-run", "--out=json", "config.get", "salina")
    return str(json.loads(shown)["provisioner"])


def provisioner(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run the master's provisioner and return its output and exit code."""
    command = [lab.LAB, "exec", "salt", "--", configured(), *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True)


def invited(host: str) -> str:
    """User data for a host, whose new key the master accepts from now on."""
    pair = generate()
    lab.run("salt", "tee", f"{ACCEPTED}/{host}", given=pair.public)
    own = lab.run("salt", "cat", "/etc/salt/pki/master/master.pub")
    (master,) = (one for one in fleets.topology().hosts if "master" in one.roles)
    address = str(fleets.topology().address(master, "management"))
    return userdata.render(host, address, pair.private, pair.public, own)


def traces(host: str) -> list[str]:
    """Return the remains of a host: on the machine, and on the master."""
    here = [*CONTAINERS.glob(f"salina-{host}*"), *KEYS.glob(f"minion-{host}.*")]
    places = ["/etc/salt/pki/master", "/var/cache/salt/master/minions"]
    there = lab.run("salt", "find", *places, "-name", host, check=False)
    return [*map(str, here), *there.splitlines()]


def answer(*hosts: str) -> None:
    """Wait until their minions do."""
    topology = topology_file.read()
    minions.wait_until_connected(
        inventory.current_plan(), [inventory.pool_machine(host, topology) for host in hosts]
    )


@pytest.fixture(scope="module", autouse=True)
def bare() -> Iterator[None]:
    """None of these hosts joins: as far as the master knows, another change is under way."""
    hold = [lab.LAB, "exec", "salt", "--", "flock", "--timeout=10", LOCK, "sh", "-c", "echo; cat"]
    with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline(), "somebody else has the lock"
        yield


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """No host of these tests before, none after."""

    def remove() -> None:
        for host in HOSTS:
            if (CONTAINERS / f"salina-{host}").exists():
                lab.lab("remove", host)
            lab.run("salt", "rm", "-f", f"{ACCEPTED}/{host}")

    remove()
    yield
    remove()


def test_s10_add_and_remove() -> None:
    """S10: The minion of a new bare host answers at once, commands work on it, and no trace
    remains.
    """
    lab.lab("add", "s9")
    assert lab.salt("s9", "test.ping") == {"s9": True}
    assert lab.run("s9", "hostname").strip() == "s9"
    shown = bin_lab("status").stdout
    assert "s9" in shown and "not a member" in shown
    again = bin_lab("add", "s9")
    assert again.returncode == 1 and "s9 already exists" in again.stderr
    lab.fault("freeze", "s9")
    lab.heal("s9")
    answer("s9")
    lab.lab("remove", "s9")
    assert traces("s9") == []
    gone = bin_lab("remove", "s9")
    assert gone.returncode == 1 and "the host s9 does not exist" in gone.stderr


@pytest.mark.parametrize("host", ["nas1", "s11", "salt"])
def test_only_hosts_of_pools_come_and_go(host: str) -> None:
    """S10: Neither a person nor the master can add or remove any other host."""
    for done in (bin_lab("add", host), bin_lab("remove", host), provisioner("destroy", host)):
        assert done.returncode == 1
        assert f"{host!r} is not a host of a pool" in done.stderr


def test_s10_the_provisioner_makes_and_removes_hosts() -> None:
    """S10, K1: A repeated call succeeds too; the host trusts this master alone; no log has a
    key.
    """
    data = invited("s9")
    first = provisioner("create", "s9", given=data)
    assert (first.returncode, first.stdout) == (0, "s9: created\n"), first.stderr
    started = lab.run("s9", "cat", "/proc/1/stat")
    again = provisioner("create", "s9", given=data)
    assert (again.returncode, again.stdout) == (0, "s9: already runs\n"), again.stderr
    assert lab.run("s9", "cat", "/proc/1/stat").split()[21] == started.split()[21]
    answer("s9")
    anew = provisioner("create", "s9", given=invited("s9"))
    assert (anew.returncode, anew.stdout) == (0, "s9: created\n"), anew.stderr
    answer("s9")
    for words in ("s9: removed\n", "s9: does not exist\n"):
        done = provisioner("destroy", "s9")
        assert (done.returncode, done.stdout) == (0, words), done.stderr
    assert "PRIVATE" not in CLOUD_LOG.read_text()
    lab.run("salt", "rm", f"{ACCEPTED}/s9")
    assert traces("s9") == []


@pytest.mark.proof
def test_s10_cloud_init_makes_a_minion_of_a_bare_machine() -> None:
    """S10, S16: Debian's own cloud-init boots the user data, as on a cloud's machine.

    The lab's cloud does the same work itself, so this is the only test in which cloud-init does it.
    The host takes its name, its key and its master's from the user data, and only root can read
    the key.
    """
    data = invited("s9")
    first = provisioner("create", "s9", given=data)
    assert first.returncode == 0, first.stderr
    lab.shell("s9", BARE)
    lab.run("s9", "tee", SEED, given=data)
    lab.fault("kill", "s9")
    lab.heal("s9")
    assert wait_until(lambda: lab.execute("s9", "test", "-e", RESULT).returncode == 0, 180)
    done = json.loads(lab.run("s9", "cat", RESULT))["v1"]
    own = ("salt-minion", "write-files", "set_hostname")
    assert "NoCloud" in done["datasource"]
    assert not [fault for fault in done["errors"] if any(name in fault for name in own)]
    answer("s9")
    assert lab.salt("s9", "test.ping") == {"s9": True}
    assert lab.run("s9", "hostname").strip() == "s9"
    modes = lab.run("s9", "stat", "--format=%a %U", userdata.PRIVATE, userdata.PUBLIC)
    assert modes.splitlines() == ["400 root", "644 root"]
    keys = lab.run("s9", "cat", f"{userdata.PKI}/minion_master.pub")
    assert keys.strip() == lab.run("salt", "cat", "/etc/salt/pki/master/master.pub").strip()


@pytest.mark.proof
def test_s10_hosts_are_made_together() -> None:
    """S10: Two hosts are made at the same time, and both answer."""
    data = {host: invited(host) for host in HOSTS}
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda host: provisioner("create", host, given=data[host]), HOSTS))
    assert [one.stdout for one in done] == ["s9: created\n", "s10: created\n"]
    answer(*HOSTS)


@pytest.mark.proof
def test_s10_a_killed_cloud_and_hosts_that_nobody_names() -> None:
    """S10, K2: `status` reports a dead cloud and `up` starts a new one; it removes s9, which nobody
    planned, and leaves s10 to its change.
    """
    for host in HOSTS:
        assert provisioner("create", host, given=invited(host)).returncode == 0
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: server.pid() is None, 10)
    told = bin_lab("status")
    assert told.returncode == 1 and "run bin/lab up" in told.stdout
    refused = provisioner("destroy", "s9")
    assert refused.returncode == 1 and "the lab's cloud is not running" in refused.stderr
    lab.run("salt", "tee", UNFINISHED, given='{"app": ["s10"]}')
    try:
        done = bin_lab("up", "--no-deploy")
        assert done.returncode == 0, done.stderr
        assert "a change to a pool has not finished its work on s10" in done.stdout
        assert server.pid() not in (None, pid)
        assert traces("s9") == []
        assert Path(CONTAINERS / "salina-s10").exists()
        answer("s10")
    finally:
        lab.run("salt", "rm", UNFINISHED)
