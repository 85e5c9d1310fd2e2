"""Every fault of drill/faults.py is found: by verify.service, and by an alarm of Nagios."""

from __future__ import annotations

import pytest

from drill import find
from drill.find import Found
from drill.ready import alarmed, trouble
from salina.common import wait

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.proof]


def test_s13_k5_every_injected_fault_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """S13, K5: More than fifty kinds, a round of independent ones at a time. The table of the
    delays is printed, which `make faults` prints as well.
    """
    wait.clear(lambda: trouble() or alarmed(), 300, "the fleet to be well")
    found: list[Found] = []
    with capsys.disabled():
        try:
            find.run([], found)
        finally:
            print(f"\n{find.table(found)}")
    assert [one.fault.name for one in found if not one.good] == []
