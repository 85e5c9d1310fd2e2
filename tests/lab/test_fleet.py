"""The fleet as a whole: one apply deploys it, and the next one changes nothing (S15)."""

import json
import subprocess

import pytest

from tests import fleets
from tests.lab import lab
from tests.lab.conftest import Bare


@pytest.fixture
def bare(deployed: Bare | None) -> Bare:
    """The answers of the bare fleet; only a lab that this run made has them."""
    if deployed is None:
        pytest.skip("the lab was deployed before this run; `make down` first")
    return deployed


def test_a_bare_fleet_is_predicted(bare: Bare) -> None:
    """S15, K3: `test=True` succeeds on every bare host."""
    assert not lab.failures(bare.predicted)
    assert all(lab.changes({host: states}) for host, states in bare.predicted.items())


def test_a_bare_fleet_converges_in_one_run(bare: Bare) -> None:
    """S15, S9: All hosts apply at the same moment and wait for each other, and one initialises."""
    assert not lab.failures(bare.applied)
    assert all(lab.changes({host: states}) for host, states in bare.applied.items())


@pytest.mark.parametrize("test", [True, False], ids=["predicted", "applied"])
def test_a_second_run_changes_nothing(test: bool) -> None:
    """S15, K1, K3: On the converged fleet a run changes nothing, and a prediction announces
    nothing.
    """
    lab.unchanged(test=test)


def test_the_orchestration_changes_nothing_either() -> None:
    """S15, K1: `orch.deploy` on the converged fleet succeeds, tier by tier, without a change."""
    command = [lab.LAB, "salt-run", "--out=json", "state.orchestrate", "orch.deploy"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (steps,) = json.loads(done.stdout)["data"].values()
    applied = [step for tag, step in steps.items() if tag.startswith("salt_") and "-state" in tag]
    assert len(applied) == 1 + len(
        fleets.fleet().tiers()
    )  # what each host does alone, and the tiers
    assert all(step["result"] is True and not step["changes"] for step in applied)


def test_the_fleet_is_well() -> None:
    """S15: Every host and every tier is healthy."""
    lab.lab("status")  # ends with an error unless all is well
