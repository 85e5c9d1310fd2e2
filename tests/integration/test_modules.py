"""The repository's Python reaches a minion after a change, in the very run that needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from salina.common import wait
from tests.integration.conftest import Installation

STATE = """
from salina import probe

def told(name):
    return {"name": name, "changes": {}, "result": True, "comment": probe.VALUE}
"""

MODULE = """
import sys

INHERITED = "salina.probe" in sys.modules

from salina import probe

def inherited():
    return INHERITED

def value():
    return probe.VALUE
"""

SLS = """
include:
  - common.python

probe-told:
  probe.told: []
"""


def write_probe(site: Path, value: str, state: str = STATE) -> None:
    """Put a utility, a module and a state that use it, and an SLS into the repository."""
    (site / "_utils/salina/probe.py").write_text(f"VALUE = {value!r}\n")
    (site / "_modules/probe.py").write_text(MODULE)
    (site / "_states/probe.py").write_text(state)
    (site / "salt/probe.sls").write_text(SLS)


@pytest.fixture(scope="module")
def apply(installation: Installation) -> Any:
    """A function that applies the SLS on nas1 and gives the states' results by their names."""

    def run(*arguments: str) -> dict[str, dict[str, Any]]:
        done = installation.salt("nas1", "state.apply", "probe", *arguments)
        assert isinstance(done.data, dict), done
        return {key.split("_|-")[1]: value for key, value in done.data.items()}

    return run


def test_bare_minion_predicts(installation: Installation, apply: Any) -> None:
    """K3: A minion that never had the states predicts with them."""
    write_probe(installation.repository, "one")
    assert apply("test=True")["probe-told"]["comment"] == "one"


def test_first_apply(installation: Installation, apply: Any) -> None:
    """K2: A minion that lost everything gets the states and uses them in the same run."""
    installation.salt("nas1", "saltutil.clear_cache")
    states = apply()
    assert states["probe-told"]["comment"] == "one"
    assert states["python-loaded"]["changes"]


def test_no_change(apply: Any) -> None:
    """K1: The next run synchronises nothing."""
    states = apply()
    assert set(states) == {"python-loaded", "pillar-refreshed", "probe-told"}
    assert not any(state["changes"] for state in states.values())


@pytest.mark.parametrize("value", ["two", pytest.param("three", marks=pytest.mark.proof)])
def test_update(installation: Installation, apply: Any, value: str) -> None:
    """The run that brings a changed utility and its changed user already uses both."""
    assert installation.salt("nas1", "probe.value").data != value
    write_probe(installation.repository, value, STATE.replace("VALUE}", f"VALUE}} # {value}"))
    assert apply()["probe-told"]["comment"] == value
    assert installation.salt("nas1", "probe.value").data == value
    assert apply()["probe-told"]["comment"] == value


@pytest.mark.proof
def test_update_of_a_stale_minion(installation: Installation, apply: Any) -> None:
    """An update also works when the minion's own process holds the old utility."""
    installation.salt(
        "nas1", "schedule.add", "probe", "function=probe.value", "seconds=1", "maxrunning=1"
    )
    assert wait.until(lambda: installation.salt("nas1", "probe.inherited").data, 30)
    installation.salt("nas1", "schedule.delete", "probe")
    write_probe(installation.repository, "four")
    assert apply()["probe-told"]["comment"] == "four"
    assert apply()["probe-told"]["comment"] == "four"


@pytest.mark.proof
def test_removed(installation: Installation, apply: Any) -> None:
    """A file that leaves the repository also leaves the minions."""
    (installation.repository / "_modules/probe.py").unlink()
    apply()
    assert "not available" in str(installation.salt("nas1", "probe.value").data)
