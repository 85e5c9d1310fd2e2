"""The common part of the runners."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import salt.config
from salt.exceptions import CommandExecutionError

from salina_fleet import minions, runner
from salina_fleet.change import exclusive
from salina_fleet.errors import RunnerError
from tests import holder
from tests.fleets import REPOSITORY


def configuration(folder: Path, *more: Path) -> dict[str, Any]:
    """Return Salt's options from the repository's master.d and further files beside it."""
    (folder / "master.d").mkdir()
    for file in [*(REPOSITORY / "master.d").glob("*.conf"), *more]:
        (folder / "master.d" / file.name).symlink_to(file)
    (folder / "master").write_text(f"root_dir: {folder}\n")
    found: dict[str, Any] = salt.config.master_config(str(folder / "master"))
    return found


def test_without_a_provisioner_the_operator_makes_hosts(tmp_path: Path) -> None:
    """S10: Without configuration the operator makes the hosts."""
    assert runner.provisioner(configuration(tmp_path)) is None


def test_the_lab_names_its_own(tmp_path: Path) -> None:
    """S10: The lab's provisioner is configured beside master.d, and replaces nothing there."""
    found = configuration(tmp_path, REPOSITORY / "lab/master.conf")["salina"]
    assert set(found) == {"root", "state", "provisioner"}
    own = found["provisioner"].replace(found["root"], str(REPOSITORY))
    assert runner.provisioner({"salina": {"provisioner": own}}) == [own]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("", '"" is not valid; must be the absolute path of an executable'),
        ("provisioner", '"provisioner" is not valid; must be the absolute path'),
        (["/bin/true"], "a list is not valid; must be the absolute path"),
        (__file__, "is not an executable file"),
        ("/etc", '"/etc" is not an executable file'),
        ("/none", '"/none" is not an executable file'),
    ],
)
def test_a_provisioner_that_cannot_be_called(value: Any, fault: str) -> None:
    with pytest.raises(CommandExecutionError) as caught:
        runner.provisioner({"salina": {"provisioner": value}})
    said = str(caught.value)
    assert said.startswith("the master's configuration: salina.provisioner: ") and fault in said


def test_the_operators_user_data_goes_to_every_new_host(tmp_path: Path) -> None:
    """S10: Such as the source of the package salt-minion; without a file there is nothing more."""
    file = tmp_path / "user-data.yaml"
    file.write_text("apt: {sources: {salt: {source: 'deb …'}}}\n")
    assert runner.user_data({"salina": {"user_data": str(file)}}) == {
        "apt": {"sources": {"salt": {"source": "deb …"}}}
    }
    assert runner.user_data(configuration(tmp_path)) == {}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, "the file cannot be read: No such file"),
        ("- apt", "must be a mapping of cloud-init's keys"),
        ("salt_minion: {}", "salt_minion: is not valid here; the master itself gives it"),
    ],
)
def test_user_data_that_cannot_be_used(tmp_path: Path, text: str | None, fault: str) -> None:
    """K5: The message names the file."""
    file = tmp_path / "user-data.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(RunnerError) as caught:
        runner.user_data({"salina": {"user_data": str(file)}})
    said = str(caught.value)
    assert said.startswith("the master's configuration: salina.user_data: ")
    assert fault in said


# The exclusion of other changes


@pytest.fixture
def site(tmp_path: Path) -> Any:
    """A site of which only the file of its changes is asked for."""
    return SimpleNamespace(change_file=tmp_path / "state" / "lock")


@pytest.fixture
def other(site: Any) -> Iterator[subprocess.Popen[str]]:
    """Another process that changes the fleet until its standard input ends."""
    with holder.another(site.change_file) as process:
        yield process


@pytest.mark.parametrize("patience", [0, 0.1])
def test_k5_a_change_is_refused_while_another_one_runs(
    site: Any, other: subprocess.Popen[str], patience: float
) -> None:
    """K5: The message has the other change, its process, and the command that shows it."""
    with pytest.raises(RunnerError) as caught:
        runner.exclude(site, "mine", patience)
    found = exclusive.holder(site.change_file)
    assert (found["what"], found["pid"]) == ("app to 5 members", other.pid)
    assert str(caught.value) == f"{exclusive.describe(found)}\nnext: salt-run fleet.status"


def test_o9_a_patient_change_begins_after_another_one(
    site: Any, other: subprocess.Popen[str]
) -> None:
    """O9: The end of the other process is enough."""
    threading.Timer(0.1, other.kill).start()
    runner.exclude(site, "mine", patience=30)
    assert exclusive.holder(site.change_file)["what"] == "mine"


@pytest.mark.parametrize(("patience", "tries"), [(0, 1), (30, 4)])
def test_only_a_patient_change_asks_again(
    site: Any, monkeypatch: pytest.MonkeyPatch, patience: float, tries: int
) -> None:
    """K5: Without patience one refusal is enough. With it, the one that succeeds is the last."""
    asked: list[str] = []

    def take(path: Path, what: str) -> None:
        assert path == site.change_file
        asked.append(what)
        if len(asked) < 4:
            raise exclusive.BusyError(f"another change is running: number {len(asked)}")

    monkeypatch.setattr(exclusive, "take", take)
    if patience:
        runner.exclude(site, "mine", patience)
    else:
        with pytest.raises(RunnerError, match=r"^another change is running: number 1\nnext: "):
            runner.exclude(site, "mine")
    assert asked == ["mine"] * tries


@pytest.mark.parametrize("patience", [0, 30])
def test_k5_a_change_file_that_cannot_be_written_is_an_error_at_once(
    site: Any, patience: float
) -> None:
    """K5: Patience does not repair a file."""
    site.change_file.parent.write_text("a file in the place of the directory")
    start = time.monotonic()
    with pytest.raises(RunnerError, match=r"state/lock cannot be opened: File exists"):
        runner.exclude(site, "mine", patience)
    assert time.monotonic() - start < 15


@pytest.mark.parametrize("patience", [0, 30])
def test_a_process_excludes_others_as_often_as_it_likes(site: Any, patience: float) -> None:
    """O9: Every application of a drill does so, in the one process of its orchestration."""
    runner.exclude(site, "first", patience)
    runner.exclude(site, "second", patience)
    assert exclusive.holder(site.change_file)["what"] == "first"


# The primary


class Primary:
    """The database hosts, whose primary may have died: it answers after some `attempts`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, attempts: int) -> None:
        self.attempts = attempts
        self.asked: list[tuple[Any, ...]] = []
        monkeypatch.setattr(runner, "site", lambda _: None)
        monkeypatch.setattr(runner, "primary", lambda *_: "bbdd2" if self.asked else "bbdd1")
        monkeypatch.setattr(minions, "work", self.work)

    def work(self, _: Any, host: str, function: str, *arguments: Any) -> Any:
        """Answer with nothing, which is an answer as well."""
        self.asked.append((host, function, *arguments))
        if len(self.asked) < self.attempts:
            raise RunnerError(f"{host}: no answer, number {len(self.asked)}")


def test_s1_the_primary_is_looked_for_at_each_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """S1: Another host may be it by then. An answer that is nothing is not asked for again."""
    found = Primary(monkeypatch, attempts=3)
    assert runner.on_primary({}, "database_branch.remove", "crm", patience=30) is None
    call = ("database_branch.remove", "crm")
    assert found.asked == [("bbdd1", *call), ("bbdd2", *call), ("bbdd2", *call)]


def test_k5_without_patience_the_primary_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """K5: A function that must not be repeated is not."""
    found = Primary(monkeypatch, attempts=2)
    with pytest.raises(RunnerError, match=r"^bbdd1: no answer, number 1$"):
        runner.on_primary({}, "database_copy.rename", "crm_copy")
    assert found.asked == [("bbdd1", "database_copy.rename", "crm_copy")]


def test_k5_the_error_of_a_primary_is_that_of_the_last_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """K5: Patience has an end, and the state of then is what an operator has to know."""
    found = Primary(monkeypatch, attempts=10**6)
    with pytest.raises(RunnerError) as caught:
        runner.on_primary({}, "database_branch.remove", "crm", patience=0.05)
    assert len(found.asked) > 1
    assert str(caught.value) == f"bbdd2: no answer, number {len(found.asked)}"
