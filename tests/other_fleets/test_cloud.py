"""A fleet as in a cloud: spares, an application without hosts, and a host of the operator's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from lab.paths import REPOSITORY
from tests import fleets
from tests.lab import lab

pytestmark = [pytest.mark.lab, pytest.mark.proof]

FRONT, ADDRESS = "lb1", fleets.topology("cloud").service.address
OWN = "wiki"
STATES = """\
{%- if pillar.host.id == 'wiki' %}
local-wiki:
  file.managed:
    - name: /etc/wiki.conf
    - contents: mine
{%- else %}
{}
{%- endif %}
"""
RULES = "rules:\n  - {host: wiki, network: front, ports: 8080, from: any, comment: the wiki}\n"


@pytest.fixture(scope="module", autouse=True)
def deployed() -> Iterator[None]:
    """The lab with this topology."""
    with lab.another("cloud"):
        yield


@pytest.fixture
def own() -> Iterator[None]:
    """States and rules of the operator; a developer's own are left alone."""
    folders = [REPOSITORY / name / "local" for name in ("salt", "pillar")]
    if any(folder.exists() for folder in folders):
        pytest.skip("this repository has an operator's own folders")
    try:
        for folder, name, text in zip(
            folders, ("init.sls", "firewall.yaml"), (STATES, RULES), strict=True
        ):
            folder.mkdir()
            (folder / name).write_text(text)
        yield
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def head(domain: str) -> str:
    """Return the head of the answer that a client gets, in small letters."""
    asked = f"--resolve {domain}:443:{ADDRESS} https://{domain}/web/health"
    return lab.shell(FRONT, f"curl -sk -o /dev/null -D - {asked}").lower()


def scaled(count: int) -> None:
    """Scale the application that is closed."""
    done = lab.salt_run("fleet.scale", "pool=shop", f"count={count}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_s15_all_is_healthy_and_a_second_apply_changes_nothing() -> None:
    """S15, K2: That an application is closed is a notice."""
    done = lab.salt_run("fleet.health")
    assert done.returncode == 0 and "closed shop.example" in done.stdout, done.stdout + done.stderr
    assert lab.changes(lab.highstate()) == []


def test_s3_a_spare_is_in_no_pool() -> None:
    """S3: The pool of the others has three members and three bricks."""
    assert len(lab.salt("nas4", "gluster.pool", "nas4")["nas4"]) == 1
    assert len(lab.salt("nas1", "gluster.pool", "nas1")["nas1"]) == 3
    bricks = lab.salt("nas1", "gluster.volumes")["nas1"]["nas"]["bricks"]
    assert bricks == [f"nas{number}:/nas" for number in (1, 2, 3)]


def test_s1_s10_an_application_opens_and_closes() -> None:
    """S1, S10: The other one serves all the time."""
    assert "503" in head("shop.example").splitlines()[0]
    assert "retry-after: 60" in head("shop.example")
    try:
        scaled(1)
        assert "200" in head("shop.example").splitlines()[0]
    finally:
        scaled(0)
    assert "retry-after: 60" in head("shop.example")
    assert "200" in head("crm.example").splitlines()[0]


def test_x7_own_states_and_rules_come_and_go(own: None) -> None:
    """X7: An apply keeps them while the files are there."""
    for changes in (True, False):
        found = lab.results(lab.salt(OWN, "state.apply", "queue=True"))
        assert lab.failures(found) == [] and bool(lab.changes(found)) == changes
    assert lab.shell(OWN, "cat /etc/wiki.conf").strip() == "mine"
    assert "the wiki" in lab.shell(OWN, "ufw status")
    (REPOSITORY / "pillar/local/firewall.yaml").unlink()
    found = lab.results(lab.salt(OWN, "state.apply", "queue=True"))
    assert lab.failures(found) == [] and "the wiki" not in lab.shell(OWN, "ufw status")
