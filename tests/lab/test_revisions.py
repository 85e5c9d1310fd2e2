"""A branch of the application moves while the fleet runs (X10)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from lab.paths import MIRROR
from salina.common import wait
from tests import fleets
from tests.lab import lab, tiers

pytestmark = [pytest.mark.lab, pytest.mark.proof]

NAME = "odoo-14.0"
NEW = "s4"
BRANCH = f"refs/heads/{fleets.definition(NAME)['source']['revision']}"
WHO = ("-c", "user.name=test", "-c", "user.email=test@example.org")


def git(*arguments: str) -> str:
    """Run git in the application's upstream, which all hosts see."""
    argv = ["git", *WHO, f"--git-dir={MIRROR}/git/{NAME}.git", *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def salt_run(*arguments: str) -> Any:
    """The data that a runner returns."""
    done = lab.salt_run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def checkouts(*hosts: str) -> set[str]:
    """The commits of staging and production on hosts."""
    places = [f"/opt/odoo/{place}" for place in ("staging", "production")]
    heads = " && ".join(f"git -C {place} rev-parse HEAD" for place in places)
    return {commit for host in hosts for commit in lab.shell(host, heads).split()}


@pytest.fixture
def moved() -> Iterator[tuple[str, str]]:
    """The commit that the fleet runs, and the one to which its branch has moved, both the same
    tree.
    """
    before = git("rev-parse", BRANCH)
    after = git("commit-tree", f"{before}^{{tree}}", "-p", before, "-m", "moved")
    git("update-ref", BRANCH, after)
    try:
        yield before, after
    finally:
        git("update-ref", BRANCH, before)
        assert salt_run("fleet.resolve")[NAME]["commit"] == before
        assert not lab.changes(lab.apply("s[0-9]*", "application.source", test=True))


def test_x10_all_hosts_run_the_recorded_commit(moved: tuple[str, str]) -> None:
    """X10: No apply and no new host follows the branch, before `fleet.resolve`."""
    before, after = moved
    hosts = [host.id for host in fleets.fleet().serving("crm")]
    assert not lab.changes(lab.apply("s[0-9]*", "application.source"))
    lab.lab("salt-run", "fleet.scale", "pool=app", f"add=[{NEW}]")
    try:
        assert checkouts(*hosts, NEW) == {before}
        assert wait.until(tiers.all_serve, 60), tiers.servers()
        assert salt_run("fleet.revisions")[NAME]["commit"] == before
    finally:
        lab.lab("salt-run", "fleet.scale", "pool=app", f"remove=[{NEW}]")
    taken = salt_run("fleet.resolve", "crm")[NAME]
    assert (taken["before"], taken["commit"]) == (before, after)
    predicted = lab.apply("s[0-9]*", "application.source", test=True)
    assert {line.partition(":")[0] for line in lab.changes(predicted)} == {*hosts}
