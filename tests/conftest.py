"""The common part of all tests: the repository's path, and its Python as Salt imports it."""

from __future__ import annotations

import gc
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent

# Salt has `fleet` and `_utils` on its path while it loads modules. The modules themselves are in
# namespaces of their own there, so tests load them by path (tests/loading.py).
sys.path.insert(0, str(REPOSITORY / "_utils"))
sys.path.insert(0, str(REPOSITORY / "fleet"))
sys.path.insert(0, str(REPOSITORY))

from tests import fleets  # noqa: E402
from tests.timing import Timing  # noqa: E402

# A busy machine must not fail a test.
settings.register_profile("salina", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("salina")


def pytest_configure(config: pytest.Config) -> None:
    """Have every run end with where its time went."""
    config.pluginmanager.register(Timing(), "timing")


def pytest_unconfigure() -> None:
    """Salt writes the log that it kept when Python ends, to a stream that pytest has closed."""
    logging.raiseExceptions = False


def pytest_collection_finish() -> None:
    """Have the garbage collector leave alone what stays until the end: all tests and modules."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this repository."""
    return REPOSITORY


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the hosts of most topologies to `make test`: `make check` takes less than a minute."""
    later = {*fleets.OTHERS} - {*fleets.SOON}
    for item in items:
        given = item.callspec.params if hasattr(item, "callspec") else {}
        if "host" in given and later & {given.get("name"), given.get("topology")}:
            item.add_marker(pytest.mark.further)
