"""X1, X2: attacks through the files that the app hosts share. All of them fail.

Each test acts as a host, or as a process of the application, that an attacker has taken.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from salina.common import wait
from salina.storage import gluster
from tests import fleets
from tests.lab.lab import apply, execute, run, shell
from tests.lab.traffic import Traffic

pytestmark = [pytest.mark.lab, pytest.mark.proof]

PILLAR = fleets.pillar("s1")
DATA = PILLAR["app"]["data"]
KIND = PILLAR["app"]["kind"]
SERIES = PILLAR["app"]["definition"]["source"]["revision"]
CONFIGURATION = PILLAR["app"]["definition"]["odoo"]["configuration"]
PYTHON = "/opt/odoo/production/.venv/bin/python"
SERVICE = "pid=$(systemctl show odoo --property=MainPID --value)"
INSIDE = f"{SERVICE}; nsenter --target $pid --mount setpriv --reuid {KIND} --regid {KIND} "
INSIDE += "--clear-groups"
"""Run a command as the service, with the view of the file system that it has."""

IMPORT = f"""
import importlib.util, json, sys
sys.path.insert(0, "/opt/odoo/production")
import odoo
odoo.tools.config.parse_config(["--config", "{CONFIGURATION}"])
odoo.modules.module.initialize_sys_path()
print(json.dumps({{
    "paths": list(odoo.addons.__path__),
    "planted": importlib.util.find_spec("odoo.addons.NAME") is not None,
}}))
"""


@pytest.fixture
def planted() -> Iterator[str]:
    """A module of Odoo that s1 puts wherever the service may write on the volume."""
    name = f"planted_{uuid.uuid4().hex[:8]}"
    places = [f"{DATA}/addons/{SERIES}", f"{DATA}/filestore/addons/{SERIES}", DATA]
    made = " ".join(f"{place}/{name}" for place in places)
    script = f"mkdir -p {made}; for place in {made}; do touch $place/__init__.py; "
    script += "echo '{}' >$place/__manifest__.py; done"
    run("s1", "runuser", "-u", KIND, "--", "sh", "-ec", script)
    yield name
    shell("s1", f"rm -rf {made}")


@pytest.mark.parametrize("host", ["s1", "s2"])
def test_x2_odoo_finds_no_module_on_the_volume(host: str, planted: str) -> None:
    """X2: A module that s1 puts on the volume is not loaded by any host."""
    run("s2", "test", "-e", f"{DATA}/addons/{SERIES}/{planted}/__init__.py")
    find = IMPORT.replace("NAME", planted)
    script = f"cd /opt/odoo/production; runuser -u {KIND} -- {PYTHON} - <<'END'\n{find}\nEND"
    found = json.loads(shell(host, script).splitlines()[-1])
    assert not found["planted"]
    assert found["paths"]
    assert not [path for path in found["paths"] if path.startswith(PILLAR["files"]["mount"])]


@pytest.mark.parametrize("host", ["s1", "s2"])
def test_x2_odoo_cannot_create_a_place_for_code(host: str) -> None:
    """X2: Neither the service nor another process of its user makes `addons`, or another link."""
    for attack in (
        "mkdir /var/lib/odoo/addons",
        "ln -s /tmp /var/lib/odoo/addons",
        "mv /var/lib/odoo/filestore /var/lib/odoo/addons",
        "rm /var/lib/odoo/filestore",
    ):
        for command in (f"{INSIDE} {attack}", f"runuser -u {KIND} -- {attack}"):
            assert execute(host, "sh", "-c", command).returncode, command
    assert run(host, "ls", "-A", "/var/lib/odoo").split() == ["filestore"]


def test_s5_x2_every_host_works_on_the_same_files() -> None:
    """S5, X2: What the service of s1 writes into the filestore, the service of s2 reads."""
    file, content = f"/var/lib/odoo/filestore/crm/{uuid.uuid4().hex}", uuid.uuid4().hex
    try:
        shell("s1", f"{INSIDE} sh -c 'echo {content} >{file}'")
        assert shell("s2", f"{INSIDE} cat {file}").strip() == content
    finally:
        run("s1", "rm", "--force", file)


@pytest.fixture
def program() -> Iterator[str]:
    """A program of root that s1 plants on the volume, with the right to become root."""
    file = f"{PILLAR['files']['mount']}/{uuid.uuid4().hex}"
    shell("s1", f"cp /usr/bin/id {file}; chown root:root {file}; chmod 4755 {file}")
    yield file
    run("s1", "rm", "--force", file)


@pytest.mark.parametrize("host", ["s1", "s2"])
def test_x1_a_planted_program_makes_nobody_root(host: str, program: str) -> None:
    """X1: Nothing on the volume runs as a program, on no host and also not for the service."""
    for user in ("nobody", KIND, "root"):
        done = execute(host, "runuser", "-u", user, "--", program)
        assert done.returncode and not done.stdout, done.stdout
    inside = execute(host, "sh", "-c", f"{INSIDE} {program}")
    assert inside.returncode and not inside.stdout, inside.stdout


def test_x1_a_planted_device_opens_nothing() -> None:
    """X1: Nobody can open a device file on the volume."""
    device = f"{PILLAR['files']['mount']}/{uuid.uuid4().hex}"
    try:
        shell("s1", f"mknod {device} c 1 5; chmod 666 {device}")  # /dev/zero
        assert execute("s2", "head", "--bytes=1", device).returncode
    finally:
        run("s1", "rm", "--force", device)


def test_x1_a_mount_gets_its_restrictions_while_it_is_in_use() -> None:
    """X1, S12: An apply restricts the mount of a deployed host, and no request fails."""
    mount = PILLAR["files"]["mount"]
    with Traffic() as traffic:
        wait.clear(lambda: traffic.obstacle(0), 60, "the traffic to begin")
        run("s1", "mount", "-o", "remount,bind,suid,dev,exec", mount)
        states = apply("s1", "gluster.mount")["s1"]
        begun = max(each.begun for each in traffic.requests())
        wait.clear(lambda: traffic.obstacle(begun), 60, "the traffic to go on")
        assert traffic.failed() == []
    assert states["files-mounted"]["result"] is True
    assert states["files-mounted"]["changes"]
    options = run("s1", "findmnt", "--noheadings", "--output", "OPTIONS", mount).strip()
    assert {*gluster.FLAGS} <= {*options.split(",")}


def test_x1_the_volume_knows_the_hosts_of_its_application() -> None:
    """X1: GlusterFS itself refuses every other address, also where a firewall is open."""
    volume = PILLAR["files"]["volume"]
    allowed = run("nas1", "gluster", "--mode=script", "volume", "get", volume, "auth.allow")
    hosts = fleets.fleet().hosts
    assert hosts["s1"].addresses["data"] in allowed
    assert hosts["bbdd1"].addresses["data"] not in allowed
    assert "*" not in allowed.split()


CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 24007), 5).close()
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("host", ["s1", "nas2"])
def test_x1_only_root_reaches_the_daemons_of_the_volume(host: str) -> None:
    """X1: A process that is not root cannot speak to GlusterFS, whatever it claims to be."""
    address = fleets.fleet().hosts["nas1"].addresses["data"]
    ask = ["python3", "-c", CONNECT, address]
    assert run(host, *ask).strip() == "connected"
    other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *ask]
    assert run(host, *other).strip() == "ConnectionRefusedError"
