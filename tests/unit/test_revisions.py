"""The commits of the definitions: looked up once, and recorded (X10)."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina_fleet import revisions, runner
from salina_fleet.revisions import RevisionError, Revisions
from salina_fleet.secrets import FakeStore
from salina_fleet.site import Site
from tests import fleets
from tests.loading import load, never
from tests.upstream import Upstream

NEXT = "\nnext: salt-run fleet.resolve"


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path / "up.git")


def at(repository: str, revision: str = "main", **more: Any) -> dict[str, Any]:
    """A repository of a definition."""
    found = {"repository": repository, "revision": revision, "submodules": False, "key": None}
    return {**found, "known_hosts": [], "place": "source", "directory": "", **more}


def source(upstream: Upstream, revision: str = "main") -> dict[str, Any]:
    """The upstream as the repository of a definition."""
    return at(upstream.url, revision)


def record(upstream: Upstream, commit: str, revision: str = "main") -> dict[str, str]:
    """The record of a commit."""
    return {"repository": upstream.url, "revision": revision, "commit": commit}


NO_KEYS = FakeStore()


def test_x10_a_branch_that_moves_changes_no_pillar(upstream: Upstream, tmp_path: Path) -> None:
    """X10: The first use records the commit; later pillars name it, and only `renew` moves it."""
    records = Revisions(tmp_path / "state")
    assert records.commit("crm", source(upstream)) == upstream.first
    second = upstream.commit("second")
    assert Revisions(tmp_path / "state").commit("crm", source(upstream)) == upstream.first
    assert records.ensure({"crm": source(upstream)}) == {"crm": upstream.first}
    assert records.renew({"crm": source(upstream)}) == {"crm": second}
    assert records.commit("crm", source(upstream)) == second


def test_x10_a_repository_that_is_away_breaks_nothing(upstream: Upstream, tmp_path: Path) -> None:
    """X10: With a record, no repository is asked."""
    records = Revisions(tmp_path / "state")
    records.commit("crm", source(upstream))
    shutil.rmtree(upstream.path)
    assert records.commit("crm", source(upstream)) == upstream.first
    assert records.ensure({"crm": source(upstream)}) == {"crm": upstream.first}
    with pytest.raises(RevisionError, match=r"crm\.yaml: source\.repository: .* cannot read"):
        records.renew({"crm": source(upstream)})
    assert records.commit("crm", source(upstream)) == upstream.first


def test_x10_another_source_is_looked_up(upstream: Upstream, tmp_path: Path) -> None:
    """X10: A record counts for one repository and one revision. Each definition has its own."""
    records = Revisions(tmp_path / "state")
    records.commit("crm", source(upstream))
    second = upstream.commit("second")
    assert records.commit("shop", source(upstream)) == second
    assert records.commit("crm", source(upstream)) == upstream.first
    upstream.tag("v2", second)
    assert records.commit("crm", source(upstream, "v2")) == second
    assert records.recorded() == {
        "crm": record(upstream, second, "v2"),
        "shop": record(upstream, second),
    }


def test_x10_a_full_commit_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X10: A full commit in the definition is what the hosts run."""
    monkeypatch.setattr(revisions, "look_up", never)
    records = Revisions(tmp_path / "state")
    full = at("https://git.example/crm.git", fleets.COMMIT)
    assert records.commit("crm", full) == fleets.COMMIT
    assert records.ensure({"crm": full}) == records.renew({"crm": full}) == {"crm": fleets.COMMIT}


def test_names_are_looked_up_as_git_does(upstream: Upstream) -> None:
    """A tag comes before a branch of the same name; an annotated tag stands for its commit."""
    second = upstream.commit("second", "feature/main")
    upstream.commit("third", "both")
    upstream.tag("both", second)
    upstream.git("tag", "light", second)
    for revision, commit in {
        "main": upstream.first,
        "HEAD": upstream.first,
        "feature/main": second,
        "refs/heads/main": upstream.first,
        "heads/main": upstream.first,
        "both": second,
        "refs/tags/both": second,
        "light": second,
    }.items():
        assert revisions.look_up("crm", source(upstream, revision), NO_KEYS) == (commit, ""), (
            revision
        )


@pytest.mark.parametrize("revision", ["nowhere", "mai", "c0ffee0"])
def test_x10_a_revision_that_does_not_exist(
    upstream: Upstream, tmp_path: Path, revision: str
) -> None:
    """X10, K5: One error names the file, the path, the revision, and what is allowed."""
    records = Revisions(tmp_path / "state")
    records.commit("shop", source(upstream))
    with pytest.raises(RevisionError) as caught:
        records.ensure({"shop": source(upstream), "crm": source(upstream, revision)})
    assert str(caught.value) == (
        f'salina: 1 fault\n  pillar/app/crm.yaml: source.revision: "{revision}" is not valid; must '
        f"be a branch or a tag of {upstream.url}, or a full commit of 40 digits{NEXT}"
    )
    assert set(records.recorded()) == {"shop"}


def test_x10_a_failure_is_not_repeated_for_each_minion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X10: Pillars repeat a failure for a while; a runner asks again at once."""
    asked: list[str] = []

    def away(name: str, *_: object) -> tuple[str, str]:
        asked.append(name)
        return "", "away"

    monkeypatch.setattr(revisions, "look_up", away)
    lost = at("https://git.example/crm.git")
    for _ in range(3):
        with pytest.raises(RevisionError, match="away"):
            Revisions(tmp_path).commit("crm", lost)
    assert asked == ["crm"]
    with pytest.raises(RevisionError, match="away"):
        Revisions(tmp_path).ensure({"crm": lost})
    with pytest.raises(RevisionError, match="away"):
        Revisions(tmp_path).commit("crm", {**lost, "revision": "other"})
    assert asked == ["crm"] * 3
    monkeypatch.setattr(revisions, "look_up", lambda *_: (fleets.COMMIT, ""))
    monkeypatch.setattr(revisions, "PAUSE", 0)
    assert Revisions(tmp_path).commit("crm", lost) == fleets.COMMIT


def test_x10_pillars_at_the_same_time_get_the_same_commit(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X10: Of pillars that come together, the first one looks the branch up, while it moves."""
    asked: list[str] = []
    ask = revisions.look_up

    def moving(name: str, *of: Any) -> tuple[str, str]:
        asked.append(name)
        found = ask(name, *of)
        upstream.commit(f"after {len(asked)}")
        return found

    monkeypatch.setattr(revisions, "look_up", moving)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda _: Revisions(tmp_path).commit("crm", source(upstream)), range(8))
    assert (set(found), asked) == ({upstream.first}, ["crm"])


def test_a_repository_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """K5: The question ends after a bound, also if git's helper does not."""
    (tmp_path / "git").write_text("#!/bin/sh\nsleep 60 &\nwait\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(revisions, "ANSWER", 1)
    lost = at("https://git.example/crm.git")
    assert revisions.look_up("crm", lost, NO_KEYS) == (
        "",
        'pillar/app/crm.yaml: source.repository: the master cannot read "https://git.example/crm.git'
        '": no answer within 1 s; correct it',
    )


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"crm": "main"}', '{"crm": {"repository": "u", "revision": "r", "commit": "x"}}'],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, content: str) -> None:
    """K5: The file is named, and nothing is overwritten."""
    file = tmp_path / revisions.FILE
    file.write_text(content)
    lost = at("https://git.example/crm.git")
    for use in (Revisions(tmp_path).recorded, lambda: Revisions(tmp_path).commit("crm", lost)):
        with pytest.raises(RevisionError, match=r"revisions\.json: 1 fault\n  the file is damaged"):
            use()
    assert file.read_text() == content


# The runners


@pytest.fixture
def master(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The default fleet, whose application comes from the upstream."""
    definition = {**fleets.definition("odoo-14.0"), "source": source(upstream)}
    site = Site(
        tmp_path, tmp_path, fleets.fleet(), {"odoo-14.0": definition}, fleets.LOCKS, fleets.TREE
    )
    monkeypatch.setattr(runner, "site", lambda _: site)
    return site


def fleet() -> ModuleType:
    return load("_runners/fleet.py", opts={})


def test_x10_resolve_takes_the_newest_commit(master: Site, upstream: Upstream) -> None:
    """X10: The runner shows the commit before and the commit now."""
    shown = {"revision": "main", "before": None, "commit": upstream.first}
    assert fleet().resolve() == {"odoo-14.0": shown}
    second = upstream.commit("second")
    assert fleet().resolve("crm") == {
        "odoo-14.0": shown | {"before": upstream.first, "commit": second}
    }
    assert fleet().revisions() == {"odoo-14.0": record(upstream, second)}
    with pytest.raises(CommandExecutionError, match='"nope" is not an application; choose one of'):
        fleet().resolve("nope")


def test_x10_a_deployment_and_a_change_begin_with_the_commit(
    master: Site, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X10, K5: Both record the commit before any host changes, or end with the one error."""
    change = load("_runners/change.py", opts={})
    assert change.deployment()["steps"]
    assert json.loads((master.state / revisions.FILE).read_text())["odoo-14.0"]["commit"]
    (master.state / revisions.FILE).unlink()
    upstream.git("update-ref", "-d", "refs/heads/main")
    monkeypatch.setattr(runner, "absent", never)
    monkeypatch.setattr("salina_fleet.change.exclusive.take", lambda *_: None)
    monkeypatch.setattr("salina_fleet.guard.ensure", lambda _: None)
    for begin in (
        fleet().deploy,
        change.deployment,
        lambda: change.begin(pool="app", add=["s4"]),
    ):
        with pytest.raises(CommandExecutionError, match=r"odoo-14\.0\.yaml: source\.revision: "):
            begin()
    assert not (master.state / "members.json").exists()
