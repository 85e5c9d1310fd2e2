"""X1, X6: TLS of GlusterFS. Attacks that fail, contents that nobody reads on the way, the move.

Each test acts as a process, or as root of a host, that an attacker has taken.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from salina.common import wait
from salina_fleet.roles.storage import PEERS, volume
from salina_fleet.roles.storage import StorageSettings as Storage
from tests import fleets
from tests.lab.lab import apply, execute, run, salt, salt_run, shell
from tests.lab.test_code_on_the_volume import SERVICE
from tests.lab.test_rolling import nobody_notices
from tests.lab.tiers import APPS, STORAGE, connected, whole
from tests.lab.traffic import Traffic

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.proof]

VOLUME = volume(fleets.topology().default, fleets.settings()[Storage])
MOUNT = fleets.settings()[Storage].mount
SECURE = "/var/lib/glusterd/secure-access"
TLS = "/etc/salina/tls"
BRICK_PORT = f"""gluster --mode=script --xml volume status {VOLUME} {{host}}:/nas |
sed -n 's:.*<port>\\([0-9]*\\)</port>.*:\\1:p' | head -n 1"""

GFAPI = """
import ctypes, os, sys
lib = ctypes.CDLL("libgfapi.so.0")
lib.glfs_new.restype = lib.glfs_creat.restype = ctypes.c_void_p
volume = ctypes.c_void_p(lib.glfs_new(b"attack"))
lib.glfs_set_volfile(volume, sys.argv[1].encode())
lib.glfs_set_logging(volume, b"/dev/null", 1)
lib.glfs_setfsuid(0), lib.glfs_setfsgid(0)
inside = lib.glfs_init(volume) == 0
made = inside and lib.glfs_creat(volume, sys.argv[2].encode(), 0o102, 0o4755)
print("created" if made else "inside" if inside else "refused", flush=True)
os._exit(0)
"""


@pytest.fixture
def place() -> Iterator[str]:
    """A directory of s1 with a program that claims to be uid 0, as in the issue."""
    folder = "/tmp/salina-test-gfapi"
    port = shell("nas1", BRICK_PORT.format(host="nas1")).strip()
    assert port.isdigit()
    lines = ["type protocol/client", "option transport-type socket", "option remote-host nas1"]
    lines += ["option remote-subvolume /nas", f"option remote-port {port}"]
    secure = [*lines, "option transport.socket.ssl-enabled on"]
    script = f"mkdir -p {folder}; cat > {folder}/attack.py <<'END'\n{GFAPI}END\n"
    for name, options in (("plain", lines), ("secure", secure)):
        text = "\n".join(["volume attack", *options, "end-volume"])
        script += f"cat > {folder}/{name} <<'END'\n{text}\nEND\n"
    shell("s1", f"{script}chmod -R a+rX {folder}")
    yield folder
    shell("s1", f"rm -rf {folder}")


@contextmanager
def without_the_second_layer(host: str) -> Iterator[None]:
    """Let every user of a host open the volume's ports, so that GlusterFS alone decides."""
    rule = "OUTPUT --protocol tcp --match owner ! --uid-owner 0 --jump ACCEPT"
    shell(host, f"iptables --wait --insert {rule}")
    try:
        yield
    finally:
        shell(host, f"iptables --wait --delete {rule}")


def test_x1_nobody_who_claims_to_be_root_gets_in(place: str) -> None:
    """X1: A process that reads no key is refused by the brick, with TLS and without it, also where
    the firewall lets it through. Root of the same host gets in: the program works.
    """
    file = f"/{uuid.uuid4().hex}"
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]

    def attack(who: list[str], how: str) -> str:
        program = ["timeout", "60", "python3", f"{place}/attack.py", f"{place}/{how}", file]
        return run("s1", *who, *program).strip()

    try:
        with without_the_second_layer("s1"):
            assert {how: attack(nobody, how) for how in ("plain", "secure")} == {
                "plain": "refused",
                "secure": "refused",
            }
        assert attack([], "plain") == "refused"
        assert execute("s1", "test", "-e", f"{MOUNT}{file}").returncode
        assert attack([], "secure") == "created"
    finally:
        run("s1", "rm", "--force", f"{MOUNT}{file}")
    for host in (*STORAGE, *APPS):
        mode = run(host, "stat", "--format=%U %G %a", f"{TLS}/files.key").strip()
        assert mode == "root root 600", host


STRANGER = """
cd {place}
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} \\
    -keyout key -out request 2>/dev/null
openssl x509 -req -in request -CA {store}/files-ca.crt -CAkey {store}/files-ca.key \\
    -CAcreateserial -CAserial serial -days 1 -out crt 2>/dev/null
"""
AS_STRANGER = """
{disguise}
mkdir -p /run/salina-test-mount
timeout 60 mount -t glusterfs nas1:/{volume} /run/salina-test-mount
ls /run/salina-test-mount
"""


def test_x1_a_host_that_the_volume_does_not_name_cannot_mount_it() -> None:
    """X1: Not with a certificate of the right CA, from an address of this application: the name
    decides. It is what root on a host of another application has.
    """
    place, name = "/root/salina-test-stranger", "w1"
    shell("salt", f"mkdir -p {place}")
    try:
        script = STRANGER.format(place=place, name=name, store="/var/lib/salina/secrets")
        shell("salt", script)
        for file in ("crt", "key"):
            run("s3", "mkdir", "-p", place)
            run("s3", "tee", f"{place}/{file}", given=run("salt", "cat", f"{place}/{file}"))
        disguise = "\n".join(
            f"mount --bind {place}/{file} {TLS}/files.{file}" for file in ("crt", "key")
        )

        def mounts(disguise: str) -> bool:
            script = AS_STRANGER.format(disguise=disguise, volume=VOLUME)
            given = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-es"]
            done = execute("s3", *given, given=script)
            return done.returncode == 0 and "crm" in done.stdout

        assert not mounts(disguise)
        assert mounts(":")
    finally:
        for host in ("salt", "s3"):
            shell(host, f"rm -rf {place}")
        shell("s3", "rmdir /run/salina-test-mount 2>/dev/null || true")


SHOW = """
import socket, ssl, sys
folder, name = sys.argv[1:]
context = ssl.create_default_context(cafile=f"{folder}/files-ca.crt")
context.check_hostname = False
context.load_cert_chain(f"{folder}/{name}.crt", f"{folder}/{name}.key")
try:
    with socket.create_connection(("nas1", 24007), 5) as plain:
        with context.wrap_socket(plain) as secure:
            secure.settimeout(2)
            print("taken" if secure.recv(1) else "refused")
except TimeoutError:
    print("taken")
except OSError:
    print("refused")
"""


def test_x1_x3_other_certificates_of_the_fleet_open_no_volume() -> None:
    """X1, X3: GlusterFS has a CA of its own. nas2 shows nas1's glusterd its other certificates."""
    names = ["files", "etcd", "etcd-peer"]
    answers = {name: run("nas2", "python3", "-c", SHOW, TLS, name).strip() for name in names}
    assert answers == {"files": "taken", "etcd": "refused", "etcd-peer": "refused"}


SNIFF = """
import socket, sys, time
marker, port, seconds = sys.argv[1].encode(), int(sys.argv[2]), float(sys.argv[3])
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
packets.settimeout(0.5)
print("listening", flush=True)
end, size, seen, tail = time.monotonic() + seconds, 0, False, b""
while time.monotonic() < end:
    try:
        data = packets.recv(1 << 17)
    except TimeoutError:
        continue
    if port.to_bytes(2, "big") in data[34:60]:
        size += len(data)
        seen = seen or marker in data
print(size, seen)
"""


def sniffed(host: str, work: str, marker: str, port: str, seconds: int = 12) -> tuple[int, bool]:
    """The bytes of a port that nas1 saw while a host did something, and whether the marker was
    there.

    The listener and the work run at the same time; both end by themselves.
    """
    run("nas1", "tee", "/run/salina-test-sniff.py", given=SNIFF)
    start = f"python3 /run/salina-test-sniff.py {marker} {port} {seconds}"
    try:
        shell("nas1", f"{start} > /run/salina-test-sniff 2>&1 &")
        shown = "cat /run/salina-test-sniff"
        assert wait.until(lambda: "listening" in shell("nas1", shown), 10)
        shell(host, work)
        assert wait.until(lambda: len(shell("nas1", shown).split()) == 3, seconds + 10)
        _, size, seen = shell("nas1", shown).split()
        return int(size), seen == "True"
    finally:
        shell("nas1", "rm -f /run/salina-test-sniff*")


def test_x1_contents_are_not_in_clear_on_the_way() -> None:
    """X1: Whoever sees the packets of a brick sees neither the content nor the name of a file.

    The same listener finds the same words in a connection without TLS.
    """
    port = shell("nas1", BRICK_PORT.format(host="nas1")).strip()
    marker = f"salina-{uuid.uuid4().hex}"
    file = f"{MOUNT}/{marker}"
    repeated = f'"{marker} " * 4000'
    write = f"python3 -c 'print({repeated})' > {file}; sync {file}; cat {file} > /dev/null"
    try:
        size, seen = sniffed("s1", write, marker, port)
        assert size > 100_000
        assert not seen
    finally:
        run("s1", "rm", "--force", file)
    spoken = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"{marker}", ("127.0.0.1", {PEERS}))
"""
    _, seen = sniffed("nas1", f"python3 - <<'END'\n{spoken}END", marker, str(PEERS), 4)
    assert seen


def serial(host: str, port: str | int) -> str:
    """The serial number of the certificate that a daemon of nas1 shows."""
    shown = f"openssl s_client -connect nas1:{port} </dev/null 2>/dev/null"
    return shell(host, f"{shown} | openssl x509 -noout -serial").strip()


def on_disk(host: str) -> str:
    return shell(host, f"openssl x509 -noout -serial -in {TLS}/files.crt").strip()


def test_x6_glusterfs_takes_a_renewed_certificate_without_a_restart() -> None:
    """X6, S12: It reads the files for each connection. No process restarts, and no request fails.

    Then nas1's brick restarts, so every client connects to it again, with the newer certificates.
    """
    whole()
    port = shell("nas1", BRICK_PORT.format(host="nas1")).strip()
    processes = "pgrep --full 'gluster[f]s|glusterd' | sort"
    hosts = ["nas1", "s1"]
    before = {host: shell(host, processes) for host in hosts}
    with nobody_notices():
        for host in hosts:
            old = on_disk(host)
            shell(host, f"rm {TLS}/files.crt")
            assert "files" in salt(host, "certificate.renew")[host]
            assert on_disk(host) != old
        new = on_disk("nas1")
        assert {serial("nas2", one) for one in ("24007", port)} == {new}
        assert {host: shell(host, processes) for host in hosts} == before
    shell("nas1", "pkill -9 -f -- '--brick-name /nas '")
    state = apply("nas1", "gluster.server")["nas1"]["gluster-volume"]
    assert state["result"] is True
    whole()
    connected()


def seen(row: str) -> list[str]:
    """The findings of verify.security about a row that are not good."""
    told = json.loads(salt_run("verify.security").stdout)["rows"][row]["seen"]
    return [f"{one['host']} {one['what']}" for one in told if not one["good"]]


def plain() -> None:
    """Take TLS away, as the fleet of an earlier version has none. No command of ours does this."""
    assert salt_run("storage.tls_stop", f"hosts={json.dumps(APPS)}").returncode == 0
    script = f"gluster --mode=script volume stop {VOLUME}"
    for option in ("client.ssl", "server.ssl", "auth.ssl-allow"):
        script += f"; gluster --mode=script volume reset {VOLUME} {option}"
    shell("nas1", script)
    for host in STORAGE:
        shell(host, f"systemctl stop glusterd; rm {SECURE}")
    for host in STORAGE:
        shell(host, "systemctl reset-failed glusterd; systemctl start glusterd")
    for host in APPS:
        run(host, "rm", SECURE)
    start = f"gluster --mode=script volume start {VOLUME}"
    assert wait.until(lambda: execute("nas1", "sh", "-c", start).returncode == 0, 60)
    whole()
    for host in APPS:
        shell(host, f"systemctl start {MOUNT} odoo")
    connected()


def move() -> None:
    done = execute("salt", "salt-run", "state.orchestrate", "orch.storage_tls")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def without_tls() -> Iterator[None]:
    """The fleet without TLS, and with TLS again whatever happens."""
    whole()
    connected()
    try:
        plain()
        yield
    finally:
        move()
        whole()
        connected()


def test_x1_a_running_fleet_moves_to_tls_by_one_command(without_tls: None) -> None:
    """X1, K1, K2, K5: An apply leaves it as it is, and no request fails. verify.security says so.
    The move then interrupts the service once, also when an earlier one had ended halfway.
    """
    with Traffic() as traffic:
        wait.clear(lambda: traffic.obstacle(0), 60, "the traffic to begin")
        for target, sls in (("nas*", "gluster.server"), ("s[0-9]*", "gluster.mount")):
            for host, states in apply(target, sls).items():
                assert not [name for name, one in states.items() if one["changes"]], host
                assert all(one["result"] for one in states.values()), host
                comment = states["gluster-secured"]["comment"]
                assert "state.orchestrate orch.storage_tls" in comment, host
        begun = max(each.begun for each in traffic.requests())
        wait.clear(lambda: traffic.obstacle(begun), 60, "the traffic to go on")
        assert traffic.failed() == []
    assert f"nas1 volume {VOLUME}" in seen("X1")
    # an earlier move, which ended while the storage hosts restarted
    assert salt_run("storage.tls_stop", f"hosts={json.dumps(APPS)}").returncode == 0
    wanted = fleets.pillar("nas1")["storage"]["volumes"][0]["tls"]
    salt("nas1", "gluster.set_options", VOLUME, json.dumps(wanted))
    shell("nas1", f"gluster --mode=script volume stop {VOLUME}")
    salt("nas1", "gluster.restart_with_tls")
    move()
    whole()
    connected()
    assert seen("X1") == []
    for host in APPS:
        assert shell(host, f"{SERVICE}; nsenter --target $pid --mount ls {MOUNT}").split()
    again = execute("salt", "salt-run", "state.orchestrate", "orch.storage_tls")
    assert again.returncode == 0
    active = "systemctl show odoo --property=InvocationID"
    before = {host: shell(host, active) for host in APPS}
    move()  # does nothing any more
    assert {host: shell(host, active) for host in APPS} == before
