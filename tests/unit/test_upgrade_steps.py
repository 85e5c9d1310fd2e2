"""An upgrade of an application: its request, its plan in words, and its steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from salina_fleet.change import upgrade
from salina_fleet.change.upgrade import Plan
from salina_fleet.errors import RunnerError
from tests.releases import NAME, NEXT

HOSTS = ["s1", "s2"]
KEPT = "crm_before_20261130_120000"
PLAN = Plan(NAME, NEXT, ("crm", "sale"), ("web",), False)
ROLLING = Plan(NAME, NEXT, ("migrations/2.js",), (), True)
NOTHING = Plan(NAME, NEXT, (), (), False)


# The request


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        ({}, ("crm", False)),
        ({"confirm": "crm"}, ("crm", True)),
        ({"application": "crm", "confirm": "crm"}, ("crm", True)),
    ],
)
def test_o8_the_only_application_needs_no_name(
    request_: dict[str, str], found: tuple[str, bool]
) -> None:
    """O8: An upgrade that is confirmed names the application all the same."""
    assert upgrade.parse(request_, ["crm"]) == found


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "application: nothing is not an application; choose one of: crm, shop"),
        (
            {"application": "cmr"},
            'application: "cmr" is not an application; choose one of: crm, shop',
        ),
        (
            {"application": "crm", "confirm": "shop"},
            'confirm: "shop" is not the application\'s name',
        ),
        ({"application": "crm", "confirm": True}, "confirm: true is not the application's name"),
        (
            {"application": "crm", "until": "noon"},
            "until: is not known; choose among application, confirm",
        ),
    ],
)
def test_k5_a_faulty_request(request_: dict[str, Any], said: str) -> None:
    """K5: The error names the key, and the choices."""
    with pytest.raises(RunnerError) as caught:
        upgrade.parse(request_, ["crm", "shop"])
    assert str(caught.value) == said


def test_k5_all_faults_of_a_request_at_once() -> None:
    """K5: Each has a line."""
    with pytest.raises(RunnerError) as caught:
        upgrade.parse({"when": 1, "application": 7, "confirm": "crm"}, ["crm", "shop"])
    keys = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert keys == ["when", "application", "confirm"]


# The plan in words


NONE = ((), "")
"""No commits, and nothing to say about them."""


@pytest.mark.parametrize(("count", "more"), [(0, 0), (12, 0), (13, 1), (100, 88)])
def test_o8_the_plan_names_commits(count: int, more: int) -> None:
    """O8: The newest ones, how many more there are, and why these may not be all."""
    found = [f"abc{number} a change" for number in range(count)]
    said = upgrade.words("crm", PLAN, (found, "c0ffee is unknown"), HOSTS, 61.6, True).splitlines()
    wanted = [f"  {line}" for line in found[:12]]
    wanted += [f"  … and {more} commits more"] * bool(more)
    assert said[1 : len(wanted) + 3] == [*wanted, "c0ffee is unknown", "changed: crm, sale"]


def test_k5_the_plan_in_words() -> None:
    """O8, K5: An operator reads the changes, how long they take, and how they are undone."""
    assert upgrade.words("crm", PLAN, NONE, HOSTS, 61.6, True).splitlines() == [
        f"crm: from release {NAME} to release {NEXT}",
        "changed: crm, sale",
        "installed: web",
        "the rehearsal took 62 s: about so long nobody can use it",
        "first on a copy of the database, while s1, s2 serve; then a backup is made",
        "then the application stops; what fails from there on brings the former release back "
        "with its data",
        "kept: the former database, as crm_before_… with the moment, for orch.rollback, until "
        "`salt-run backup.discard`",
        "next: salt-run state.orchestrate orch.upgrade "
        """pillar='{"application": "crm", "confirm": "crm"}'""",
    ]


@pytest.mark.parametrize("backup", [True, False])
def test_k5_the_plan_in_words_if_the_former_release_goes_on(backup: bool) -> None:
    """O8, K5: An operator reads that users notice nothing, and why no database is kept."""
    saved = "then a backup is made" if backup else "no host makes backups"
    assert upgrade.words("crm", ROLLING, NONE, HOSTS, 61.6, backup).splitlines() == [
        f"crm: from release {NAME} to release {NEXT}",
        "changed: migrations/2.js",
        "the rehearsal took 62 s",
        f"first on a copy of the database, while s1, s2 serve; {saved}",
        "then the database itself changes while the application goes on: all of this is declared "
        "compatible",
        "then the hosts follow one by one; no database is kept, since the former release works "
        "with this one",
        "next: salt-run state.orchestrate orch.upgrade "
        """pillar='{"application": "crm", "confirm": "crm"}'""",
    ]


def test_k5_a_plan_without_a_rehearsal_and_a_backup_host() -> None:
    """O8, K5: The plan says that both are missing, and leaves out what there is none of."""
    said = upgrade.words("crm", Plan(NAME, NEXT, (), ("web",), False), NONE, HOSTS, None, False)
    assert "not rehearsed yet: orch.rehearse says how long it takes" in said
    assert "while s1, s2 serve; no host makes backups\n" in said
    assert "changed: " not in said
    changed = Plan(NAME, NEXT, ("a",), (), False)
    assert "installed: " not in upgrade.words("crm", changed, NONE, HOSTS, 1, True)
    said = upgrade.words("crm", ROLLING, NONE, HOSTS, None, False)
    assert "not rehearsed yet: orch.rehearse says how long it takes" in said


@pytest.mark.parametrize(("count", "more"), [(12, ""), (13, " and 1 more"), (40, " and 28 more")])
def test_many_changes_are_counted(count: int, more: str) -> None:
    """K5: The plan names some of them."""
    names = tuple(f"m{number}" for number in range(count))
    said = upgrade.words("crm", Plan(NAME, NEXT, names, (), False), NONE, HOSTS, None, True)
    assert f"changed: {', '.join(names[:12])}{more}\n" in said


# The steps


def runners(change: dict[str, Any]) -> list[str]:
    """Return the runner of each step, or the hosts that apply their states."""
    return [step.get("runner") or ",".join(step["hosts"]) for step in change["steps"]]


REHEARSED = ["fleet.ready", "upgrade.fetch", "upgrade.rehearse"]


@pytest.mark.parametrize("backup", [True, False])
def test_o8_the_steps_of_an_upgrade(backup: bool) -> None:
    """O8: The rehearsal and the backup come before users notice anything."""
    change = upgrade.told("crm", PLAN, HOSTS, KEPT, backup)
    saved = ["backup.make"] * backup
    changed = ["upgrade.change", "s1,s2", "fleet.probe"]
    assert runners(change) == [*REHEARSED, *saved, *changed]
    assert change["what"] == f"upgrade: crm to release {NEXT}"
    given = {step.get("runner"): step.get("arguments") for step in change["steps"]}
    wanted = {"application": "crm", "release": NEXT}
    assert given["upgrade.fetch"] == given["upgrade.rehearse"] == wanted
    assert given["upgrade.change"] == {**wanted, "kept": KEPT}
    assert given["fleet.probe"] == {"hosts": HOSTS, "through": True}
    names = [step["name"] for step in change["steps"]]
    assert len({*names}) == len(names)  # Salt needs an id for each


@pytest.mark.parametrize("backup", [True, False])
def test_o8_the_steps_of_an_upgrade_under_the_former_release(backup: bool) -> None:
    """O8: The database alone changes, after the rehearsal and the backup. Then the hosts follow."""
    change = upgrade.told("crm", ROLLING, HOSTS, KEPT, backup)
    saved = ["backup.make"] * backup
    assert runners(change) == [*REHEARSED, *saved, "upgrade.migrate", "s1,s2", "fleet.probe"]
    assert change["what"] == f"upgrade: crm to release {NEXT}"
    given = {step.get("runner"): step.get("arguments") for step in change["steps"]}
    assert given["upgrade.migrate"] == {"application": "crm", "release": NEXT}
    names = [step["name"] for step in change["steps"]]
    assert len({*names}) == len(names)  # Salt needs an id for each


@pytest.mark.parametrize("plan", [NOTHING, replace(NOTHING, rolls=True)])
def test_o8_a_database_that_fits_already_is_left_alone(plan: Plan) -> None:
    """O8, K2: After an interruption only the hosts follow, without a copy and without a backup."""
    assert not plan.needed
    assert runners(upgrade.told("crm", plan, HOSTS, KEPT, True)) == [
        *("fleet.ready", "s1,s2", "fleet.probe")
    ]


@pytest.mark.parametrize(("differing", "missing"), [(("a",), ()), ((), ("a",))])
def test_o8_a_new_module_needs_an_upgrade_as_well(
    differing: tuple[str, ...], missing: tuple[str, ...]
) -> None:
    """O8: So does each changed one."""
    assert Plan(NAME, NEXT, differing, missing, False).needed
    assert Plan(NAME, NEXT, differing, missing, True).needed


def test_o8_a_rehearsal_changes_nothing_that_users_see() -> None:
    """O8: It ends with the copy of the database."""
    change = upgrade.rehearsal("crm", NEXT, HOSTS)
    assert runners(change) == REHEARSED
    assert change["what"] == f"rehearsal: crm with release {NEXT}"
    assert change["steps"][0]["arguments"] == {"hosts": HOSTS}


# How long it takes


def test_o8_the_last_rehearsal_of_each_application_counts(tmp_path: Path) -> None:
    """O8: That of another release says nothing about this one."""
    file = tmp_path / upgrade.FILE
    assert upgrade.seconds(file, "crm", NAME) is None
    upgrade.rehearsed(file, "crm", NAME, 12.5)
    upgrade.rehearsed(file, "shop", NEXT, 7)
    assert upgrade.seconds(file, "crm", NAME) == 12.5
    assert upgrade.seconds(file, "crm", NEXT) is None
    upgrade.rehearsed(file, "crm", NEXT, 20)
    assert [upgrade.seconds(file, "crm", name) for name in (NAME, NEXT)] == [None, 20]
    assert upgrade.seconds(file, "shop", NEXT) == 7


@pytest.mark.parametrize("text", ["", "{", "7x"])
def test_k2_a_damaged_file_of_rehearsals_counts_for_none(tmp_path: Path, text: str) -> None:
    """K2: The next rehearsal replaces it."""
    file = tmp_path / upgrade.FILE
    file.write_text(text)
    assert upgrade.seconds(file, "crm", NAME) is None
    upgrade.rehearsed(file, "crm", NAME, 3)
    assert upgrade.seconds(file, "crm", NAME) == 3


@pytest.mark.parametrize(("took", "patience"), [(None, 900), (10, 900), (225, 900), (600.5, 2402)])
def test_k2_a_long_upgrade_gets_more_time(took: float | None, patience: int) -> None:
    """K2: If the master dies, the application starts again by itself, but not too early."""
    assert upgrade.patience(took) == patience
