"""Modules of a second repository, one of them in a submodule, reach every host (O1, O2, X10)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from lab.paths import MIRROR
from salina.common import wait
from tests.lab import lab, tiers
from tests.lab.lab import run, salt
from tests.lab.test_rolling import edited
from tests.lab.test_upgrade import DEFINITION, applied, goes_on, runs
from tests.lab.tiers import APPS
from tests.lab.traffic import Traffic
from tests.upstream import Upstream

pytestmark = [pytest.mark.lab, pytest.mark.proof]

MODULE = "salina_extra"
PLACE = f".repositories/further/{MODULE}"
MANIFEST = "{'name': 'Salina: a module of a further repository', 'depends': ['base']}\n"
STYLE = "a{float:left}"
FURTHER = (
    '{name: further, repository: "file:///srv/mirror/git/further.git", revision: main, '
    "submodules: true}"
)


def shown() -> dict[str, Any]:
    """Return what the master knows about the application's releases."""
    done = lab.salt_run("application.revisions")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["crm"]
    return found


@pytest.fixture
def further() -> Iterator[str]:
    """A repository of the mirror, whose only module is a submodule with a relative URL.

    Returns:
        Its commit.
    """
    places = [MIRROR / "git/further.git", MIRROR / f"git/{MODULE}.git"]
    outer, inner = map(Upstream, places)
    try:
        blobs = [inner.git("hash-object", "-w", "--stdin", text=text) for text in (MANIFEST, "")]
        names = zip(blobs, ("__manifest__.py", "__init__.py"), strict=True)
        tree = inner.git("mktree", text="".join(f"100644 blob {a}\t{b}\n" for a, b in names))
        pinned = inner.git("commit-tree", tree, "-m", "a module")
        inner.git("update-ref", "refs/heads/main", pinned)
        text = f'[submodule "{MODULE}"]\n\tpath = {MODULE}\n\turl = ../{MODULE}.git\n'
        blob = outer.git("hash-object", "-w", "--stdin", text=text)
        entries = f"100644 blob {blob}\t.gitmodules\n160000 commit {pinned}\t{MODULE}\n"
        commit = outer.git("commit-tree", outer.git("mktree", text=entries), "-m", "a submodule")
        outer.git("update-ref", "refs/heads/main", commit)
        yield commit
    finally:
        for place in places:
            shutil.rmtree(place)


@pytest.fixture
def former() -> Iterator[str]:
    """The release that runs before and after the test."""
    (before,) = runs()
    yield before
    applied()
    assert runs() == {before}
    assert wait.until(tiers.all_serve, 120), tiers.servers()


def test_o1_o2_modules_of_a_second_repository(former: str, further: str) -> None:
    """O1, O2, X10: Each host gets them in a release of its own name, while users go on.

    The release also has rtlcss, because the definition wants it.
    """
    keys = rf"odoo:\n  right_to_left: true\n  repositories: [{FURTHER}]"
    with edited(DEFINITION, f"s|^odoo:$|{keys}|"):
        assert lab.salt_run("fleet.resolve").returncode == 0
        found = shown()
        assert found["repositories"] == {"further": {"revision": "main", "commit": further}}
        assert found["wanted"] != former
        with Traffic() as traffic:
            wait.clear(lambda: traffic.obstacle(0.0), 60, "the traffic to begin")
            applied()
            goes_on(traffic)
        assert runs() == {found["wanted"]}
        directory = f"/opt/odoo/releases/{found['wanted']}"
        sums = salt("-L", ",".join(APPS), "odoo.checksums", directory)
        assert len({sums[host][MODULE] for host in APPS}) == 1
        for host in APPS:
            assert run(host, "cat", f"/opt/odoo/production/{PLACE}/__manifest__.py") == MANIFEST
            assert run(host, "find", "/opt/odoo/production/", "-name", ".git") == ""
            turned = run(host, "/opt/odoo/production/.rtlcss/bin/rtlcss", "-", given=STYLE)
            assert "float:right" in turned
            options = run(host, "cat", "/etc/odoo/odoo.conf").splitlines()
            (path,) = (line for line in options if line.startswith("addons_path = "))
            places = path.partition(" = ")[2].split(",")
            assert places[0] == "/opt/odoo/production/.repositories/further"
