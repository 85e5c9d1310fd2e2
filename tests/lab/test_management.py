"""S14: Operators come in from outside through the management host, with keys only, and each does
what the rank allows.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from salina.common import wait
from salina_fleet import operators as accounts
from salina_fleet.fleet import Fleet
from salina_fleet.model import topology
from tests import fleets
from tests.lab import lab

pytestmark = pytest.mark.lab

FLEET = fleets.fleet()
[GES] = FLEET.having("management")
OUTSIDE = GES.addresses["edge"]
HOSTS = (GES.id, "s1", "salt")
PLACE = "/root/salina-operators"
CONFIG = f"""\
IdentityFile {PLACE}/%r
IdentitiesOnly yes
BatchMode yes
ConnectTimeout 10
UserKnownHostsFile {PLACE}/known_hosts
StrictHostKeyChecking yes
Host {GES.id}
    HostName {OUTSIDE}
    HostKeyAlias {GES.id}
"""
RANKS = {"olga": "all", "ivan": "operate", "ruth": "look", "kurt": "all"}
LAST = {"kurt": "2026-01-31"}
"""Kurt's access has ended."""
YOUNGER = {"sntrup761x25519-sha512", "kex-strict-s-v00@openssh.com"}
"""Names that are younger than Debian's ssh-audit (2.5). Current releases know them."""
EXPERIMENTAL = "sntrup761x25519-sha512@openssh.com"
"""Debian's ssh-audit calls it experimental. OpenSSH has preferred it since 9.0."""


def ssh(user: str, host: str, command: str) -> subprocess.CompletedProcess[str]:
    """Log in from outside: to the management host, or through it to another one."""
    jump = [] if host == GES.id else ["-J", f"{user}@{GES.id}"]
    return lab.execute("c1", "ssh", "-F", f"{PLACE}/config", *jump, f"{user}@{host}", command)


def refusal(user: str, *options: str) -> str:
    """Return the words with which the management host refuses a login."""
    argv = ["ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", *options]
    argv += ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={PLACE}/others"]
    return lab.execute("c1", *argv, f"{user}@{OUTSIDE}", "id").stderr


def settle(names: tuple[str, ...]) -> None:
    """Apply the operators on the hosts, as with a topology that lists these."""
    data = fleets.data()
    keys = {name: lab.run("c1", "cat", f"{PLACE}/{name}.pub").strip() for name in names}
    data["operators"] = {
        name: {"keys": [key], "expires": LAST.get(name, "2037-06-30"), "may": RANKS[name]}
        for name, key in keys.items()
    }
    found = topology.parse(data)
    master = fleets.master_data(Fleet(found, found.initial(), fleets.settings()))
    for host in HOSTS:
        own = accounts.pillar(master, FLEET.hosts[host])["operators"]
        pillar = {"operators": {key: own[key] for key in ("accounts", "salt")}}
        given = ("queue=True", f"pillar={json.dumps(pillar)}")
        applied = lab.results(lab.salt(host, "state.apply", "operators", *given))
        assert lab.failures(applied) == []


@pytest.fixture(scope="module")
def operators() -> Iterator[None]:
    """Four operators with keys on c1, and a key of nobody."""
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -qq openssh-client"
    lab.shell("c1", f"apt-get update -qq\n{install}\nmkdir -p -m 0700 {PLACE}")
    for name in (*RANKS, "nobody"):
        lab.run("c1", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{PLACE}/{name}")
    lab.run("c1", "sh", "-c", f"cat >{PLACE}/config", given=CONFIG)
    known = json.loads(lab.salt_run("fleet.known_hosts").stdout)
    lab.run("c1", "sh", "-c", f"cat >{PLACE}/known_hosts", given=known + "\n")
    try:
        settle(tuple(RANKS))
        yield
    finally:
        lab.shell("c1", f"rm -rf {PLACE}")
        for host in HOSTS:
            lab.apply(host, "operators")
            lab.shell(host, "".join(f"userdel --remove {name} 2>&1 || true\n" for name in RANKS))


def test_s14_only_the_keys_of_operators_lead_in(operators: None) -> None:
    """S14: Not a password, not a foreign key, not an operator whose last day is over, not root."""
    assert ssh("olga", GES.id, "id -un").stdout == "olga\n"
    for user, options in (
        ("kurt", ["-i", f"{PLACE}/kurt"]),
        ("ruth", ["-i", f"{PLACE}/nobody"]),
        ("root", ["-i", f"{PLACE}/olga"]),
        ("olga", ["-o", "PubkeyAuthentication=no"]),
    ):
        assert "Permission denied (publickey)" in refusal(user, *options), user


def test_s14_from_there_every_host_by_name(operators: None) -> None:
    """S14: With the operator's own key, and the host's key that the master has made. The log host
    gets the record of the session.
    """
    assert ssh("olga", "s1", "echo a-session-of-$(id -un); sudo -n id -un").stdout == (
        "a-session-of-olga\nroot\n"
    )
    journal = ("journalctl", "--identifier=salina-session", "--output=cat")
    seen = wait.until(lambda: "> a-session-of-olga" in lab.run("s1", *journal), 20)
    assert seen, lab.run("s1", *journal)
    begun = "= olga from 10.1.5.6: echo a-session-of-$(id -un); sudo -n id -un"
    assert begun in lab.run("s1", *journal)
    sent = [*journal, "--file", "/var/log/journal/remote/s1/*.journal*"]
    [log_host] = FLEET.having("monitoring")
    assert wait.until(lambda: begun in lab.run(log_host.id, *sent, check=False), 60)


@pytest.mark.proof
def test_s14_the_keys_are_good_from_the_management_host_only(operators: None) -> None:
    """S14: A stolen key does not lead from one host to the next one, and ges holds no key."""
    private = lab.run("c1", "cat", f"{PLACE}/olga")
    lab.shell("salt", f"umask 077; cat >/root/salina-olga <<'END'\n{private}END\n")
    argv = ["ssh", "-i", "/root/salina-olga", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
    argv += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    try:
        said = lab.execute("salt", *argv, "olga@10.1.5.11", "id")
    finally:
        lab.run("salt", "rm", "/root/salina-olga")
    assert "Permission denied (publickey)" in said.stderr
    keys = lab.run(GES.id, "sh", "-c", "grep -rl 'PRIVATE KEY' /home /root /etc/ssh || true")
    assert [path for path in keys.split() if not path.startswith("/etc/ssh/ssh_host_")] == []


@pytest.mark.proof
def test_s14_who_may_look_cannot_change(operators: None) -> None:
    """S14: Salt without root: each rank has its functions, and no others, and no other argument."""
    assert "True" in ssh("ruth", "salt", "salt s1 test.ping").stdout
    assert ssh("ruth", "salt", "salt-run fleet.members").returncode == 0
    for command in (
        "salt s1 cmd.run id",
        "salt s1 state.apply ufw",
        "salt s1 test.ping,cmd.run id",
        "salt-run fleet.scale pool=app count=4",
        "salt-run topology.check /etc/shadow",
        "salt-run --config-dir=/tmp fleet.members",
        "salt-run salt.cmd cmd.run id",
        "sudo -n id",
    ):
        assert ssh("ruth", "salt", command).returncode, command
    assert ssh("ruth", "s1", "cat /var/log/salt/minion").returncode
    assert ssh("ivan", "s1", "journalctl --lines=1").returncode == 0
    assert ssh("ivan", "salt", "salt s1 state.apply common.hosts").returncode == 0
    evil = """salt s1 state.apply common.hosts 'pillar={"hosts": []}'"""
    assert "is not an argument that `operate` may give" in ssh("ivan", "salt", evil).stderr
    assert ssh("olga", "salt", "salt s1 cmd.run 'id -un' --out=txt").stdout == "s1: root\n"
    log = lab.run("salt", "journalctl", "--identifier=salina-salt", "--output=cat")
    assert "refused to ruth: salt s1 cmd.run id" in log


@pytest.mark.proof
def test_s14_the_management_host_forwards_to_ssh_only(operators: None) -> None:
    """S14: Neither to other ports nor to other places."""
    for target in ("salt:4506", "10.1.4.31:5432", f"{FLEET.topology.service.address}:443"):
        argv = ["ssh", "-F", f"{PLACE}/config", "-W", target, f"olga@{GES.id}"]
        assert lab.execute("c1", *argv).returncode, target


HOLD = """
import signal, socket
held = []
while len(held) < 400:
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(5)
    try:
        one.connect("/run/salina-sessions/ruth")
        one.sendall(b"= held\\n")
    except OSError:
        break
    held.append(one)
signal.pause()
"""


@pytest.mark.proof
def test_s14_nobody_uses_up_the_records_of_another_operator(operators: None) -> None:
    """S14: An operator with as many connections as possible keeps nobody else out."""
    other = ssh("ruth", GES.id, "python3 -c \"open('/run/salina-sessions/olga')\"")
    assert "Permission denied" in other.stderr
    script = ["systemd-run", "--quiet", "--collect", "--unit=salina-hold", "--property=User=ruth"]
    lab.run(GES.id, *script, "python3", "-c", HOLD)
    try:
        held = ["systemctl", "list-units", "--plain", "--no-legend", "salina-session@*.service"]
        assert wait.until(lambda: len(lab.run(GES.id, *held).splitlines()) >= 32, 60)
        assert ssh("olga", GES.id, "id -un").stdout == "olga\n"
    finally:
        lab.execute(GES.id, "systemctl", "stop", "salina-hold")
    assert wait.until(lambda: ssh("ruth", GES.id, "id -un").stdout == "ruth\n", 30)


@pytest.mark.proof
def test_s14_a_removed_operator_loses_the_session(operators: None) -> None:
    """S14: The next apply ends the session and takes the key; the account stays, expired."""
    unit = ["systemd-run", "--collect", "--unit=salina-ruth"]
    lab.run("c1", *unit, "ssh", "-F", f"{PLACE}/config", f"ruth@{GES.id}", "sleep 600")
    busy = ["pgrep", "-u", "ruth", "-f", "sleep 600"]
    assert wait.until(lambda: lab.execute(GES.id, *busy).returncode == 0, 30)
    try:
        settle(("olga", "ivan", "kurt"))
        assert lab.execute(GES.id, "pgrep", "-u", "ruth").returncode == 1
        assert "Permission denied" in ssh("ruth", GES.id, "id").stderr
    finally:
        lab.execute("c1", "systemctl", "stop", "salina-ruth")
        settle(tuple(RANKS))
    assert ssh("ruth", GES.id, "id -un").stdout == "ruth\n"


@pytest.mark.proof
def test_s14_ssh_audit_finds_nothing(operators: None) -> None:
    """S14: From outside, with Debian's ssh-audit and no more than what is younger than it."""
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -qq ssh-audit"
    lab.shell("c1", f"apt-get update -qq\n{install}")
    said = lab.execute("c1", "ssh-audit", "--no-colors", "--level=warn", OUTSIDE).stdout
    found = re.findall(r"^\((?:kex|key|enc|mac)\) (\S+) +-- \[(warn|fail)\] (.*)$", said, re.M)
    other = [
        (name, words)
        for name, _, words in found
        if not (name in YOUNGER and words == "unknown algorithm")
        and not (name == EXPERIMENTAL and words == "using experimental algorithm")
    ]
    assert found and other == [], said
