"""X2: attacks through the files that the app hosts share. All of them fail.

Each test acts as a host, or as a process of the application, that an attacker has taken.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from tests import fleets
from tests.lab.lab import execute, run, shell

pytestmark = [pytest.mark.lab, pytest.mark.proof]

PILLAR = fleets.pillar("s1")
DATA = PILLAR["app"]["data"]
KIND = PILLAR["app"]["kind"]
SERIES = PILLAR["app"]["definition"]["source"]["revision"]
CONFIGURATION = PILLAR["app"]["definition"]["odoo"]["configuration"]
PYTHON = f"/opt/odoo/{PILLAR['app']['name']}/bin/python"
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
