"""The common part of the runners."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import salt.config
from salt.exceptions import CommandExecutionError

from salina_fleet import runner
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
