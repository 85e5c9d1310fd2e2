"""A branch of the application moves while the fleet runs (X10)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from salina.common import wait
from tests import fleets
from tests.lab import lab, tiers, upstream
from tests.lab.upstream import NAME

pytestmark = [pytest.mark.lab, pytest.mark.proof]

NEW = "s4"


def salt_run(*arguments: str) -> Any:
    """The data that a runner returns."""
    done = lab.salt_run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def releases(*hosts: str) -> set[tuple[str, str]]:
    """The releases that hosts run, each with its commit as its record on the host says."""
    answers = lab.salt("-L", ",".join(hosts), "release.status")
    assert set(answers) == set(hosts)
    return {(one["runs"], one["commit"]) for one in answers.values()}


@pytest.fixture
def moved() -> Iterator[tuple[str, str]]:
    """The commit that the fleet runs, and the one to which its branch has moved, both the same
    tree.
    """
    with upstream.moved() as commits:
        yield commits
    assert not lab.changes(lab.apply("s[0-9]*", "application.stored", test=True))


def test_x10_all_hosts_run_the_recorded_commit(moved: tuple[str, str]) -> None:
    """X10: No apply and no new host follows the branch, before `fleet.resolve`."""
    before, after = moved
    hosts = [host.id for host in fleets.fleet().serving("crm")]
    assert not lab.changes(lab.apply("s[0-9]*", "application.stored"))
    lab.lab("salt-run", "fleet.scale", "pool=app", f"add=[{NEW}]")
    try:
        wanted = salt_run("application.revisions")["crm"]["wanted"]
        assert releases(*hosts, NEW) == {(wanted, before)}
        assert wanted.startswith(before[:12])
        assert wait.until(tiers.all_serve, 60), tiers.servers()
        assert salt_run("fleet.revisions")[NAME]["commit"] == before
    finally:
        lab.lab("salt-run", "fleet.scale", "pool=app", f"remove=[{NEW}]")
    taken = salt_run("fleet.resolve", "crm")[NAME]
    assert (taken["before"], taken["commit"]) == (before, after)
    predicted = lab.apply("s[0-9]*", "application.stored", test=True)
    assert {line.partition(":")[0] for line in lab.changes(predicted)} == {*hosts}
    assert releases(*hosts) == {(wanted, before)}
