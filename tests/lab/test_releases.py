"""A release is built once, and every app host runs the same bytes (O1, X10)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.lab import lab
from tests.lab.lab import run, shell
from tests.lab.tiers import APPS

pytestmark = pytest.mark.lab

HOST = APPS[-1]
CONTENT = "find . -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum"


@pytest.fixture(scope="module")
def release() -> dict[str, str]:
    """The name of the release that the app hosts must run, its directory, and the store."""
    name = json.loads(lab.salt_run("application.revisions").stdout)["crm"]["wanted"]
    return {
        "name": name,
        "directory": f"/opt/odoo/releases/{name}",
        "store": "/mnt/nas/releases/crm",
    }


@pytest.fixture
def again(release: dict[str, str]) -> Iterator[str]:
    """A host that may lose its release. It has it again at the end."""
    yield HOST
    assert lab.failures(lab.apply(HOST, "application.stored")) == []
    assert lab.changes(lab.apply(HOST, "application.stored")) == []


def comment(host: str) -> str:
    """Apply the states of the release on a host, and return how they failed."""
    state = lab.apply(host, "application.stored")[host]["application-release"]
    assert state["result"] is False
    return str(state["comment"])


def test_o1_all_hosts_run_the_same_bytes(release: dict[str, str]) -> None:
    """O1, X10: One host built the release. All of them, the volume and the master agree on it."""
    shown = json.loads(lab.salt_run("application.revisions").stdout)["crm"]
    assert {host: one["runs"] for host, one in shown["hosts"].items()} == dict.fromkeys(
        APPS, release["name"]
    )
    assert {one["commit"] for one in shown["hosts"].values()} == {shown["commit"]}
    assert shown["built"] in APPS and shown["wanted"] == release["name"]
    contents = {shell(host, f"cd {release['directory']} && {CONTENT}") for host in APPS}
    assert len(contents) == 1
    record = json.loads(run("salt", "cat", "/var/lib/salina/releases.json"))
    digest = record["crm"][release["name"]]["digest"]
    for place in release["directory"], f"{release['store']}/{release['name']}":
        assert run(HOST, "sha256sum", f"{place}.tar.zst").split()[0] == digest
    others = f"find {release['directory']} ! -type l \\( ! -user root -o -perm /6022 \\)"
    assert shell(HOST, others) == ""


def test_x10_a_changed_archive_is_not_unpacked(release: dict[str, str], again: str) -> None:
    """X10: A host that changes the archive on the volume changes no other host."""
    archive = f"{release['store']}/{release['name']}.tar.zst"
    inode = run(again, "stat", "--format=%i", release["directory"])
    shell(APPS[0], f"cp {archive} /root/archive && echo foreign >>{archive}")
    try:
        run(again, "rm", f"{release['directory']}.json")
        said = comment(again)
        assert archive in said and "it was not unpacked" in said
        assert run(again, "stat", "--format=%i", release["directory"]) == inode
    finally:
        shell(APPS[0], f"cp /root/archive {archive} && rm /root/archive")
    assert run(again, "systemctl", "is-active", "odoo").strip() == "active"


def test_a_file_changed_by_hand_is_reported_and_replaced(
    release: dict[str, str], again: str
) -> None:
    """O1: An apply names the file and leaves it. Without the record, it unpacks the release."""
    file = f"{release['directory']}/odoo-bin"
    before = run(again, "cat", file)
    shell(again, f"echo '# by hand' >>{file}")
    said = comment(again)
    assert f"1 files were changed by hand ({file})" in said
    assert run(again, "cat", file) != before
    run(again, "rm", f"{release['directory']}.json")
    assert lab.failures(lab.apply(again, "application.stored")) == []
    assert run(again, "cat", file) == before
