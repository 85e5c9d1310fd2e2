"""The first state of an apply: whether a host runs the system that the topology names (K5)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.loading import failure, load

PLATFORM = {"name": "debian-12", "finger": "Debian-12"}


@pytest.mark.parametrize("test", [True, False])
def test_k5_another_system_is_refused(test: bool) -> None:
    """K5: Also in a prediction; the reason names both systems and what to do."""

    def found(system: str) -> dict[str, Any]:
        verdict = load("_states/verdict.py", opts={"test": test}, grains={"osfinger": system})
        answer: dict[str, Any] = verdict.has_platform("x", PLATFORM)
        return answer

    assert found("Debian-12")["result"] is True
    assert failure(found("Debian-13")) == (
        "this host runs Debian-13, but pillar/topology.yaml gives it the platform debian-12 "
        "(Debian-12); correct `platform` there, or install the host again with that system"
    )
