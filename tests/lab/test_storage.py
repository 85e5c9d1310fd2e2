"""The storage tier of the running lab: S3 (pool and volume), S4 (mounts, losses), S5 (uploads).

Each test repairs what it breaks, even when it fails: the next one finds a complete volume.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from salina.common import wait
from salina.storage import gluster
from tests.lab.lab import apply, execute, fault, heal, lab, run, salt, shell
from tests.lab.tiers import APPS, STORAGE, all_serve, connected, faults, servers, whole
from tests.lab.traffic import Traffic

pytestmark = pytest.mark.lab

DIRECTORY = "/mnt/nas/salina-test"
OPTION = "network.ping-timeout"
IF_WHOLE = "If its brick is whole, and only its configuration differs, on nas3:"


def outcome(state: dict[str, Any]) -> tuple[bool | None, dict[str, Any]]:
    return state["result"], state["changes"]


def checksums(path: str) -> dict[str, str]:
    """The checksum of a file of the volume, on each brick and on each app host."""
    places = dict.fromkeys(STORAGE, path.replace("/mnt/nas", "/nas")) | dict.fromkeys(APPS, path)
    return {host: run(host, "sha256sum", place).split()[0] for host, place in places.items()}


@pytest.fixture
def directory() -> Iterator[str]:
    """A directory on the volume."""
    whole()
    connected()
    shell("s1", f"rm -rf {DIRECTORY}; mkdir {DIRECTORY}")
    yield DIRECTORY
    shell("s1", f"rm -rf {DIRECTORY}")


@pytest.fixture
def broken() -> Iterator[None]:
    """The test breaks hosts."""
    whole()
    yield
    heal(*STORAGE)
    whole()


# S3


@pytest.mark.parametrize("host", STORAGE)
def test_pool_and_volume(host: str) -> None:
    """S3: One trusted pool of three has one volume `nas`, replica 3, bricks /nas,
    ping-timeout 5.
    """
    members = salt(host, "gluster.pool", host)[host]
    assert sorted(name for member in members for name in member["names"]) == STORAGE
    assert all(member["connected"] for member in members)
    volumes = salt(host, "gluster.volumes")[host]
    assert list(volumes) == ["nas"]
    assert volumes["nas"]["status"] == "Started"
    assert volumes["nas"]["replica"] == 3
    assert volumes["nas"]["bricks"] == ["nas1:/nas", "nas2:/nas", "nas3:/nas"]
    assert volumes["nas"]["options"][OPTION] == "5"
    assert volumes["nas"]["options"]["cluster.quorum-type"] == "auto"
    assert faults(host) == []


def test_bricks_listen_where_the_firewalls_open() -> None:
    """S3: The ports of the bricks are below pillar storage.max_port."""
    for host in STORAGE:
        found = shell(host, "tr '\\0' '\\n' < /proc/$(pgrep -f -- --brick-name)/cmdline")
        port = int(found.split("--brick-port\n")[1].split()[0])
        assert 49152 <= port <= 49251


@pytest.mark.parametrize("test", [True, False])
def test_applied_again_nothing_changes(test: bool) -> None:
    """S3, S4, K1, K3: Neither a prediction nor an apply finds anything to do."""
    for target, sls in (("nas*", "gluster.server"), ("s[0-9]*", "gluster.mount")):
        for host, states in apply(target, sls, test=test).items():
            different = {name: state for name, state in states.items() if state["changes"]}
            assert not different, host
            assert all(state["result"] for state in states.values()), host


def test_changed_option_is_put_back() -> None:
    """S3: Any host restores a changed option, even when all hosts do it at the same moment."""
    run("nas2", "gluster", "--mode=script", "volume", "set", "nas", OPTION, "42")
    changes = {OPTION: {"old": "42", "new": "5"}}
    predicted = apply("nas3", "gluster.server", test=True)["nas3"]["gluster-volume"]
    assert outcome(predicted) == (None, changes)
    answers = apply("nas*", "gluster.server")
    assert [answers[host]["gluster-volume"]["result"] for host in STORAGE] == [True] * 3
    assert changes in [answers[host]["gluster-volume"]["changes"] for host in STORAGE]
    assert salt("nas1", "gluster.volumes")["nas1"]["nas"]["options"][OPTION] == "5"


def test_foreign_brick_is_refused() -> None:
    """S3, K5: The error names a brick that the topology does not list, and its command works."""
    replace = "gluster --mode=script volume replace-brick nas"
    run("nas3", "mkdir", "-p", "/other")
    shell("nas3", f"{replace} nas3:/nas nas3:/other commit force")
    try:
        for host, states in apply("nas*", "gluster.server").items():
            assert states["gluster-pool"]["result"] is True, states["gluster-pool"]["comment"]
            assert states["gluster-volume"]["result"] is False, host
            comment = states["gluster-volume"]["comment"]
            assert "a brick that is not in the topology: nas3:/other" in comment
            assert "replace-brick nas nas3:/other nas3:/nas commit force" in comment
    finally:
        shell("nas3", f"{replace} nas3:/other nas3:/nas commit force; rm -rf /other")
        whole()
    assert apply("nas3", "gluster.server")["nas3"]["gluster-volume"]["result"] is True


def test_stopped_volume_is_one_clear_error() -> None:
    """S3, K5: An apply does not start a volume that somebody stopped; the error says how to."""
    run("nas1", "gluster", "--mode=script", "volume", "stop", "nas", "force")
    try:
        states = apply("nas2", "gluster.server")["nas2"]
        failed = [name for name, state in states.items() if state["result"] is False]
        assert failed == ["gluster-volume"]
        assert "volume nas is stopped" in states["gluster-volume"]["comment"]
    finally:
        run("nas1", "gluster", "--mode=script", "volume", "start", "nas")
        whole()


def test_dead_brick_is_started() -> None:
    """S3: An apply starts the killed process of a brick again."""
    shell("nas2", "pkill -9 -f -- '--brick-name /nas '")
    state = apply("nas2", "gluster.server")["nas2"]["gluster-volume"]
    assert outcome(state) == (True, {"brick": {"old": "its process is dead", "new": "running"}})
    whole()


# S4


def test_written_on_one_read_on_all(directory: str) -> None:
    """S4: A file that one app host writes is on all three bricks and on every app host."""
    shell("s1", f"head -c 1000000 /dev/urandom > {directory}/file")
    assert len({run(host, "sha256sum", f"{directory}/file").split()[0] for host in APPS}) == 1
    # On a busy machine a brick may miss a write for a moment, and then gets it from the others.
    whole()
    assert len(set(checksums(f"{directory}/file").values())) == 1


@pytest.mark.parametrize("host", APPS)
def test_mounted_by_fstab(host: str) -> None:
    """S4: /etc/fstab has the mount with all storage hosts, and a boot does not wait for it."""
    [line] = [line for line in run(host, "cat", "/etc/fstab").splitlines() if "glusterfs" in line]
    source, target, kind, options, *_ = line.split()
    assert (source, target, kind) == ("nas1:/nas", "/mnt/nas", "glusterfs")
    assert {"_netdev", "nofail", "backup-volfile-servers=nas2:nas3"} <= set(options.split(","))
    assert {*gluster.FLAGS} <= set(options.split(","))


def mounted(host: str) -> bool:
    return "/mnt/nas fuse.glusterfs" in run(host, "cat", "/proc/mounts", check=False)


def reboot(host: str) -> None:
    """Restart a host's system, and return when the new one runs."""
    begun = "cut -d ' ' -f 22 /proc/1/stat"
    before = shell(host, begun)
    run(host, "systemctl", "reboot", check=False)
    assert wait.until(lambda: shell(host, begun, check=False) not in ("", before), 60)


def test_mounted_after_a_boot_without_the_first_server(broken: None) -> None:
    """S4: An app host boots while nas1 is dead, which its line in /etc/fstab names first."""
    fault("kill", "nas1")
    reboot("s3")
    assert wait.until(lambda: mounted("s3"), 60)


@pytest.mark.proof
def test_mounted_after_a_boot_before_the_storage(broken: None) -> None:
    """S4: An app host boots while the storage is down, and mounts the volume when it returns."""
    fault("service-kill", "glusterd", *STORAGE)
    reboot("s3")
    state = "systemctl show --property=ActiveState --value gluster-mountable"
    # no check: while it boots systemd does not answer
    assert wait.until(lambda: "activating" in shell("s3", state, check=False), 60)
    assert not mounted("s3")
    heal(*STORAGE)
    whole()  # glusterd's unit starts it again after a minute
    assert wait.until(lambda: mounted("s3"), 60)


BOUND = 5
"""Seconds for which a boot waits for the volume in the next test; by default it waits for 300."""


@pytest.mark.proof
def test_a_boot_waits_for_the_storage_with_a_bound(broken: None) -> None:
    """S4, K5: The journal says which hosts to look at. The mount and the application come back by
    themselves, although they have failed.
    """
    script = "/usr/local/sbin/gluster-mountable"
    said = "journalctl --boot --unit gluster-mountable --output cat"
    shell("s3", f"sed -i 's/+ 300/+ {BOUND}/' {script}")
    try:
        fault("service-kill", "glusterd", *STORAGE)
        reboot("s3")
        told = "Check the storage hosts nas1, nas2, nas3: one more attempt follows by itself."
        assert wait.until(lambda: told in shell("s3", said, check=False), 120)
        assert not mounted("s3")
        heal(*STORAGE)
        whole()
        assert wait.until(lambda: mounted("s3"), 120)
        active = "systemctl is-active odoo"
        assert wait.until(lambda: shell("s3", active, check=False).strip() == "active", 60)
    finally:
        apply("s3", "gluster.mount")
    assert f"+ {BOUND}" not in shell("s3", f"grep uptime {script}")


CLOUD_INIT = """
127.0.1.1 s3.example s3
127.0.0.1 localhost
"""


@pytest.mark.proof
def test_a_boot_restores_the_names() -> None:
    """S4, S15: /etc/hosts is restored at boot, without Salt, before the volume and the database
    need it.
    """
    before = run("s3", "cat", "/etc/hosts")
    shell("s3", f"cat > /etc/hosts <<'END'{CLOUD_INIT}END\nsystemctl disable salt-minion")
    try:
        reboot("s3")
        assert wait.until(lambda: mounted("s3"), 90)
        assert run("s3", "cat", "/etc/hosts") == before
        journal = run("s3", "journalctl", "--boot", "--unit", "salina-hosts", "--output", "cat")
        assert "/etc/hosts had been changed and was restored" in journal
        health = "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8069/web/health"
        assert wait.until(lambda: shell("s3", health, check=False) == "200", 120)
    finally:
        shell("s3", "systemctl enable --now salt-minion")
        wait.until(lambda: salt("s3", "test.ping").get("s3") is True, 60)


CLIENT = "--full 'process-name fuse.* /mnt/nas$'"
AGAIN = "gluster-mount-again"


def works(host: str) -> bool:
    """Whether the volume answers on an app host."""
    asked = "grep -q ' /mnt/nas fuse.glusterfs ' /proc/mounts && timeout 10 stat -f /mnt/nas"
    return execute(host, "sh", "-c", asked).returncode == 0


@pytest.fixture
def looked_after() -> Iterator[None]:
    """The test breaks the mount of s1, and decides itself when the host looks after it."""
    whole()
    connected()
    run("s1", "systemctl", "stop", f"{AGAIN}.timer")
    yield
    run("s1", "systemctl", "start", f"{AGAIN}.timer", "/mnt/nas", "odoo")
    whole()
    assert wait.until(lambda: works("s1"), 60)
    assert wait.until(all_serve, 120), servers()


@pytest.mark.proof
def test_s4_s12_the_mount_of_a_killed_client_comes_back(looked_after: None) -> None:
    """S4, S12: The host leaves the balance, is mounted again within a minute, says so in the
    journal, and serves again. Odoo is not restarted.
    """
    journal = ["journalctl", "--quiet", "--output", "cat", "--unit", AGAIN]
    odoo = ["systemctl", "show", "odoo", "--property=InvocationID,MainPID"]
    before, since = run("s1", *odoo), run("s1", "date", "+%F %T").strip()
    with Traffic() as traffic:
        wait.clear(lambda: traffic.obstacle(0), 60, "the traffic to begin")
        shell("s1", f"pkill --signal KILL {CLIENT}")
        assert wait.until(lambda: not servers()["s1"]["serving"], 30)
        assert not works("s1")
        out = time.time()
        run("s1", "systemctl", "start", f"{AGAIN}.timer")
        assert wait.until(lambda: works("s1"), 60)
        assert wait.until(lambda: servers()["s1"]["serving"], 60)
        wait.clear(lambda: traffic.obstacle(time.time() - 1), 60, "the traffic to go on")
        failed = [each for each in traffic.requests() if each.fault and each.begun > out]
        assert failed == [], traffic.failed()
    said = run("s1", *journal, "--since", since).splitlines()
    assert said == ["the volume nas is mounted again at /mnt/nas: its client died"]
    assert run("s1", *odoo) == before
    root = "/proc/$(systemctl show odoo --property=MainPID --value)/root/mnt/nas"
    assert shell("s1", f"timeout 10 ls {root}").split()


@pytest.mark.proof
def test_s4_an_apply_repairs_the_mount_of_a_killed_client_at_once(looked_after: None) -> None:
    """S4: It asks the same program as the timer, which is stopped here."""
    shell("s1", f"pkill --signal KILL {CLIENT}")
    assert wait.until(lambda: not works("s1"), 10)
    # the SLS starts the timer as well, but its first look is 20 s away
    result, changes = outcome(apply("s1", "gluster.mount")["s1"]["files-mounted"])
    assert result is True and changes["/mnt/nas"]["new"] == "nas"
    assert works("s1")


@pytest.mark.proof
def test_s4_the_mount_is_left_alone_when_an_operator_stopped_it(looked_after: None) -> None:
    """S4: The application stops with it, and neither comes back by itself."""
    stop = ("systemctl", "stop", "/mnt/nas")  # fails while the health agent has a file open
    assert wait.until(lambda: execute("s1", *stop).returncode == 0, 30)
    run("s1", "systemctl", "start", AGAIN)
    assert not mounted("s1")
    assert run("s1", "systemctl", "is-active", "/mnt/nas", "odoo", check=False).split() == [
        "inactive",
        "inactive",
    ]


@pytest.mark.proof
def test_s4_the_mount_is_left_alone_when_all_bricks_are_away(looked_after: None) -> None:
    """S4: Its client gives the same error as a dead one, but it comes back with the bricks."""
    before = shell("s1", f"pgrep {CLIENT}")
    try:
        for host in STORAGE:
            shell(host, "pkill --signal KILL --full -- '--brick-name /nas '")
        assert wait.until(lambda: not works("s1"), 30)
        run("s1", "systemctl", "start", AGAIN)
        assert shell("s1", f"pgrep {CLIENT}") == before
    finally:
        run("nas1", "gluster", "--mode=script", "volume", "start", "nas", "force")
    assert wait.until(lambda: works("s1"), 60)
    assert shell("s1", f"pgrep {CLIENT}") == before


TRIES = r"""
client="glusterfs .* $DIRECTORY/volume\$"
cat > "$DIRECTORY/mount" <<'SHIM'
#!/bin/sh
echo >> "$DIRECTORY/tries"
case $(wc -l < "$DIRECTORY/tries") in
1)  # its client dies before it has answered: a dead mount
    /bin/mount "$@"
    touch "$DIRECTORY/mounted"
    until test -e "$DIRECTORY/dead"; do :; done
    exit 1 ;;
2)  exit 0 ;;  # its client ended before it had mounted, which mount.glusterfs does not see
*)  exec /bin/mount "$@" ;;
esac
SHIM
chmod +x "$DIRECTORY/mount"
mkdir "$DIRECTORY/volume"
{
    until test -e "$DIRECTORY/mounted"; do :; done
    pkill --signal KILL --full "$client"
    until ! pgrep --full "$client"; do :; done
    touch "$DIRECTORY/dead"
} > /dev/null &
trap "kill $! 2> /dev/null || true" EXIT
command=$(sed -n 's/^ExecStart=//p' /etc/systemd/system/gluster-mountable.service)
export DIRECTORY PATH="$DIRECTORY:$PATH" RUNTIME_DIRECTORY="$DIRECTORY/volume"
timeout 60 unshare --mount sh -c "$command"
wc -l < "$DIRECTORY/tries"
pgrep --full "$client" || true
"""


def test_a_failed_try_is_not_in_the_way_of_the_next() -> None:
    """S4: A failed try to mount leaves neither a mount nor a process."""
    directory = run("s3", "mktemp", "--directory").strip()
    try:
        assert shell("s3", f"DIRECTORY={directory}\n{TRIES}").split() == ["3"]
    finally:
        run("s3", "rm", "-r", "--one-file-system", directory)


WRITER = """
end=$(($(date +%s) + 25)); number=0
while [ "$(date +%s)" -lt "$end" ]; do
    number=$((number + 1))
    echo "$number" > "$DIRECTORY/$number"
    echo "$(date +%s.%N) $number"
    sleep 0.1
done
"""


@pytest.mark.proof
@pytest.mark.slow
def test_one_storage_host_frozen(broken: None, directory: str) -> None:
    """S4: Writes continue after one bounded stall, and the volume heals although no event reports
    it.
    """
    with ThreadPoolExecutor() as pool:
        writer = pool.submit(shell, "s1", f"DIRECTORY={directory}\n{WRITER}")
        assert wait.until(lambda: len(run("s1", "ls", directory).split()) > 20, 20)
        fault("freeze", "nas2")
        written = [line.split() for line in writer.result().splitlines()]
    times = [float(moment) for moment, _ in written]
    gap = max(after - before for before, after in pairwise(times))
    print(f"nas2 frozen: {len(written)} files, longest gap {gap:.1f} s")
    assert gap < 15
    heal("nas2")
    whole()
    last = written[-1][1]
    assert shell("s2", f"ls {directory} | wc -l").strip() == last
    assert set(checksums(f"{directory}/{last}").values()) == {
        hashlib.sha256(f"{last}\n".encode()).hexdigest()
    }


@pytest.mark.slow
@pytest.mark.proof
def test_rebuilt_host_is_told_with_commands_that_work(directory: str) -> None:
    """S4, K5: A rebuilt storage host is refused at once, and the error's commands fill it again.

    The other hosts report the same as soon as their glusterd has connected to it again.
    """

    def said(host: str, sls: str = "gluster.server") -> str:
        return str(apply(host, sls)[host]["gluster-pool"]["comment"])

    shell("s1", f"head -c 1000000 /dev/urandom > {directory}/file")
    volumes = salt("nas1", "gluster.volumes")["nas1"]
    told, by_nas2 = (gluster.rejection("nas3", peer, volumes) for peer in ("nas1", "nas2"))
    first, rebuilt, *commands = (line.strip() for line in told.splitlines())
    assert first == "nas3 is rejected by the trusted pool."
    assert rebuilt == "If it was rebuilt, with an empty brick, on nas1:"
    lab("rebuild", "nas3")
    try:
        # nas2 answers when nas1 is busy.
        assert said("nas3", "common,gluster.server") in (told, by_nas2)
        wait.clear(lambda: "" if (now := said("nas1")) == told else now, 60, "nas1's word")
    finally:
        for command in commands[: commands.index(IF_WHOLE)]:
            script = command.replace("gluster ", "gluster --mode=script ", 1)
            run("nas1", "timeout", "120", "sh", "-c", script)
        whole(600)  # all files of the volume are healed again
    for host, states in apply("nas*", "gluster.server").items():
        assert all(state["result"] for state in states.values()), host
    assert len(set(checksums(f"{directory}/file").values())) == 1
    salt("nas3", "state.apply")


# S5


@pytest.mark.parametrize("host", APPS)
def test_uploads_are_on_the_volume(host: str) -> None:
    """S5: The directory into which the application writes uploads is on the shared volume."""
    data = shell(host, "sed -n 's/^data_dir *= *//p' /etc/odoo/odoo.conf").strip()
    files = run(host, "readlink", "--canonicalize-existing", f"{data}/filestore").strip()
    kind = run(host, "findmnt", "--noheadings", "--output", "FSTYPE", "--target", files)
    assert files.startswith("/mnt/nas/")
    assert kind.strip() == "fuse.glusterfs"
