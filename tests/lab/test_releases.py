"""A release is built once, and every app host runs the same bytes (O1, X10)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from salina.common import wait
from tests.lab import lab, upstream
from tests.lab.lab import run, salt, shell
from tests.lab.tiers import APPS
from tests.lab.traffic import Traffic

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


@pytest.mark.proof
def test_s12_a_release_that_does_not_start_reaches_one_host(release: dict[str, str]) -> None:
    """S12: The first host serves with the former release again, and the others keep it.

    Their applies fail at once and name the first host. The corrected definition frees the turns.
    """
    with Traffic() as traffic:
        wait.clear(lambda: traffic.obstacle(0.0), 60, "the traffic to begin")
        with upstream.moved(texts={"odoo-bin": "raise SystemExit('broken')\n"}):
            upstream.resolve()
            found = lab.results(salt("-L", ",".join(APPS), "state.apply"))
            failed = {host: lab.failures({host: states}) for host, states in found.items()}
        first = [host for host, lines in failed.items() if "runs again" in str(lines)]
        assert len(first) == 1, failed
        for host in set(APPS) - {*first}:
            assert f"{first[0]} is not healthy after its own turn" in str(failed[host])
        begun = max(each.begun for each in traffic.requests())
        wait.clear(lambda: traffic.obstacle(begun), 60, "the traffic to go on")
        assert traffic.failed() == []
    shown = json.loads(lab.salt_run("application.revisions").stdout)["crm"]["hosts"]
    assert {one["runs"] for one in shown.values()} == {release["name"]}
    assert any(json.loads(lab.salt_run("turn.show").stdout).values())
    assert lab.failures(lab.results(salt(first[0], "state.apply"))) == []
    assert not any(json.loads(lab.salt_run("turn.show").stdout).values())
    assert lab.failures(lab.results(salt("-L", ",".join(APPS), "state.apply"))) == []
