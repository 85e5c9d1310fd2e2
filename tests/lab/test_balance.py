"""S12: balancing by load on the running fleet; by default it is off."""

from __future__ import annotations

import pytest

from salina.common import wait
from tests.lab import balance
from tests.lab.lab import fault, heal, shell
from tests.lab.tiers import APPS, servers

pytestmark = pytest.mark.lab

LEFT = (
    "ls -d /usr/local/lib/salina-load /etc/systemd/system/salina-load.service; "
    "pgrep -f salina.balancer.load"
)


def test_a_slow_host_gets_next_to_nothing_and_comes_back() -> None:
    """S12: A slow host still serves, and gets more again later; without the daemon nothing
    remains.
    """
    slow = APPS[-1]

    def not_better() -> str:
        found = balance.weights()
        return "" if found[slow] >= 8 else f"the weights are {found}"

    balance.by_load(True)
    try:
        fault("slow", slow)
        wait.clear(lambda: balance.least_for(slow), 120, f"{slow} to have the least")
        assert servers()[slow]["serving"]
        heal(slow)
        wait.clear(not_better, 180, f"{slow} to have more again")
    finally:
        heal(slow)
        balance.by_load(False)
    assert balance.whole() == ""
    assert shell("lb1", LEFT, check=False) == ""
