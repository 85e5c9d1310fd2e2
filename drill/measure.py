"""Break one host under traffic, and measure what clients notice and how the fleet recovers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.restore import restoring
from drill.history import History, Write, gap, judge
from drill.ready import trouble, unhealthy
from lab.machines.faults import Fault, Kind
from salina.common import wait
from tests.lab import alarms, lab
from tests.lab.tiers import APPS
from tests.lab.traffic import Request, Traffic, Writer, bricks_differ, wait_for

TIMEOUT = 30.0
"""Seconds that a client waits for an answer."""
LEAST, MOST = 30.0, 90.0
"""Seconds for which a host is broken: until an alarm arrives, but at least and at most so long."""
RECOVERY = 600.0
"""Seconds in which the fleet must be well again."""
GOES_ON = 120.0
"""Seconds in which each session and the writer must succeed again."""
READS = ("page", "read")
"""The requests of readers."""


@dataclass(frozen=True)
class Outcome:
    """The result of one drill. All times are in seconds.

    Args:
        case: The host, and how it was broken.
        requests: The requests of all sessions since then.
        failed: A line for each of them that failed.
        readers: The longest time without a page or a file for any session.
        uploads: The longest time without an upload of any session.
        rows: The longest time without an acknowledged row.
        history: What became of all acknowledged rows.
        files: The uploads that a brick does not have, or has with other bytes.
        healthy: The time from the end of the fault until all was well; None if it never was.
        alarms: The alarms, each with the time since the fault began.
        error: Why the drill has not come to its end, or "".
    """

    case: Fault
    requests: int = 0
    failed: Sequence[str] = ()
    readers: float = 0.0
    uploads: float = 0.0
    rows: float = 0.0
    history: History = field(default_factory=lambda: History(0))
    files: Sequence[str] = ()
    healthy: float | None = None
    alarms: Sequence[tuple[float, str]] = ()
    error: str = ""

    @property
    def good(self) -> bool:
        """Return whether nothing was lost and all was well again."""
        well = self.healthy is not None and not self.error
        return well and self.history.good and not self.files

    def cells(self) -> list[str]:
        """Return the drill as a row of the table."""
        if self.error:
            return [str(self.case), self.error, *[""] * 7]
        lost = len({*self.history.lost, *self.history.doubled, *self.history.vanished})
        gaps = (self.readers, self.uploads, self.rows)
        healthy = "never" if self.healthy is None else f"{self.healthy:.0f} s"
        told = "; ".join(f"{subject} +{delay:.0f} s" for delay, subject in self.alarms)
        return [
            *(str(self.case), f"{len(self.failed)} of {self.requests}"),
            *(f"{seconds:.1f} s" for seconds in gaps),
            *(str(lost), str(len(self.files)), healthy, told or "none"),
        ]


HEADINGS = (
    *("drill", "failed requests", "no reader", "no upload", "no row", "lost rows", "lost files"),
    *("healthy after", "alarms"),
)
"""The headings of the columns of `Outcome.cells`."""


def measure(case: Fault, writer: Writer) -> Outcome:
    """Break a host under traffic, and repair it again.

    Args:
        case: The host, and how to break it.
        writer: The writer, which moves to another app host if its own one is broken.

    Raises:
        AssertionError: A part of the traffic has ended, or the host could not be broken.
        TimeoutError: The traffic does not go on.
    """
    if writer.host == case.host:
        writer.again(next(one for one in APPS if one != case.host))
    alarms.listen()
    with Traffic(timeout=TIMEOUT) as traffic:
        parts = (traffic, writer)
        wait_for(parts, GOES_ON)
        begun = time.time()
        ends: list[float] = []

        def heal() -> None:
            ends.append(time.time())
            lab.heal(case.host)

        with restoring(heal):
            lab.fault(case.kind, *filter(None, (case.service, case.host)))
            if case.kind is Kind.SERVICE_KILL:  # systemd starts it again, so the fault ends at once
                ends.append(begun)
                recovered = wait.until(lambda: not unhealthy() and time.time(), MOST)
            else:
                recovered = None
                wait.until(lambda: _enough(begun), MOST)
        recovered = recovered or wait.until(lambda: not trouble() and time.time(), RECOVERY)
        wait_for(parts, GOES_ON)
        end = time.time()
        files = bricks_differ(traffic.uploads())
        history = checked(writer)
        traffic.end()
        requests = traffic.requests()
        return Outcome(
            case,
            sum(one.begun + one.took >= begun for one in requests),
            traffic.failed(),
            readers=gap(_good(requests, *READS), begun, end),
            uploads=gap(_good(requests, "upload"), begun, end),
            rows=gap([float(line["at"]) for line in writer.lines()], begun, end),
            history=history,
            files=files,
            healthy=recovered - ends[0] if recovered else None,
            alarms=[
                (mail.at - begun, mail.subject.removeprefix(alarms.PROBLEM))
                for mail in alarms.problems(begun)
            ],
        )


def _enough(begun: float) -> bool:
    """Return whether a host was broken for long enough."""
    return time.time() - begun >= LEAST and bool(alarms.problems(begun))


def _good(requests: Sequence[Request], *kinds: str) -> list[float]:
    """Return when the requests of some kinds succeeded."""
    return [one.begun + one.took for one in requests if one.kind in kinds and not one.fault]


def checked(writer: Writer) -> History:
    """Return what became of all rows that are acknowledged by now.

    A replica applies a row a moment after it has stored it, so there is a bound for that.
    """
    writes = [
        Write(int(line["number"]), float(line["at"]), int(line["rows"])) for line in writer.lines()
    ]
    found = wait.until(lambda: one if (one := judge(writes, writer.tables())).good else None, 30)
    return found or judge(writes, writer.tables())
