"""The common part of all unit tests."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from salina.common import wait


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the code ask again at once: a fake needs no second between two questions."""
    eager = SimpleNamespace(
        monotonic=time.monotonic, sleep=lambda seconds: time.sleep(min(seconds, 0.01))
    )
    monkeypatch.setattr(wait, "time", eager)
