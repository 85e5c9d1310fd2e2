"""Make faults, and measure how soon they are found: python -m drill.find [WORD]..."""

import json
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import typer

from bench.restore import restoring
from drill.faults import DRIFT, FAULTS, PREDICT, Fault, chosen, placed, rounds, seen
from drill.ready import breaking
from drill.table import markdown
from lab.commands.console import out, step
from lab.errors import LabError
from lab.machines.faults import Kind
from salina.common import wait
from tests.lab import alarms, lab
from tests.lab.tiers import DATABASES, leader

BOUND = 240.0
"""Seconds in which every fault of a round must be found."""
RECOVERY = 600.0
"""Seconds in which all must be well again."""


@dataclass
class Found:
    """A fault, and after how many seconds it was found; None if it was not.

    Args:
        fault: The fault.
        begun: When it was made.
        verified: The seconds until verify.service had named it, the time of its run included.
        alarmed: The seconds until the mail had arrived.
        error: Why the fault could not be made, or "".
    """

    fault: Fault
    begun: float = 0.0
    verified: float | None = None
    alarmed: float | None = None
    error: str = ""

    @property
    def good(self) -> bool:
        """Return whether verify.service and Nagios have found it."""
        return self.verified is not None and self.alarmed is not None

    def cells(self) -> list[str]:
        """Return it as a row of the table."""
        fault = self.fault
        seconds = (
            "never" if one is None else f"{one:.0f} s" for one in (self.verified, self.alarmed)
        )
        verified, alarmed = [self.error, ""] if self.error else seconds
        return [fault.name, fault.host, fault.row, verified, fault.alarm, alarmed]


HEADINGS = ("fault", "host", "row", "verify.service", "alarm", "mail")
"""The headings of the columns of `Found.cells`."""


def main(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORD]...",
            help="Which faults: a part of the name, a host, a row or an alarm; all words must fit. "
            "By default all faults.",
        ),
    ] = None,
) -> None:
    """Make every fault of drill/faults.py on the lab, and show how soon it is found.

    Exit code 0 means that `salt-run verify.service` and Nagios have found each of them.
    """
    found: list[Found] = []
    try:
        with breaking("faults"):
            run(words or [], found)
    finally:
        if found:
            out.print(f"\n{table(found)}", markup=False)
    if not all(one.good for one in found):
        raise SystemExit(1)


def table(found: Iterable[Found]) -> str:
    """Return the delays as a table, with the interval between two questions of Nagios."""
    rows = markdown(HEADINGS, [one.cells() for one in found])
    return (
        f"{rows}\n\nNagios asked every {alarms.QUICK} seconds; an alarm needs several bad answers."
    )


def run(words: Sequence[str], found: list[Found]) -> None:
    """Make faults round by round, and undo them.

    Args:
        words: Which faults.
        found: It gets the results.

    Raises:
        LabError: No fault fits.
        TimeoutError: Something is not well after a round.
        ExceptionGroup: A fault could not be undone.
    """
    primary = leader()
    [replica] = [host for host in DATABASES if host != primary]
    wanted = chosen(placed(FAULTS, primary, replica), words)
    if not wanted:
        raise LabError(f"ONLY: no fault fits: {' '.join(words)}", "make faults ONLY=firewall")
    groups = rounds(wanted)
    with alarms.sink():
        for number, group in enumerate(groups, start=1):
            with step(f"round {number} of {len(groups)}: {len(group)} faults"):
                look(group, found)
            with step("all is well again"):
                wait.clear(lambda: str(wrong() or ""), RECOVERY, "verify.service to find nothing")
                alarms.well(RECOVERY)


def look(group: Sequence[Fault], found: list[Found]) -> None:
    """Make the faults of a round, wait until they are found, and undo them.

    Args:
        group: The faults.
        found: It gets the results.
    """
    since, own = time.time(), [Found(fault) for fault in group]
    found += own

    def repair() -> None:
        errors = []
        made = [one for one in own if one.begun]
        for one in reversed(made):
            try:
                undo(one.fault)
            except AssertionError as error:
                if not one.error:  # otherwise there may be nothing to undo
                    errors.append(error)
        predict(one.fault for one in made)
        if errors:
            raise ExceptionGroup("a fault could not be undone", errors)

    with restoring(repair):
        for one in own:
            one.begun = time.time()
            try:
                inject(one.fault)
            except AssertionError as error:
                one.error = " ".join(str(error).split())[:100]
        predict(group)
        wait.until(lambda: noticed(own, since), BOUND, pause=2)


def inject(fault: Fault) -> None:
    """Make a fault.

    Raises:
        AssertionError: Its script failed.
    """
    if isinstance(fault.inject, Kind):
        lab.fault(fault.inject, fault.host)
        return
    lab.shell(fault.host, fault.inject)
    if fault.primary:
        lab.shell(leader_seen(), fault.primary)


def leader_seen() -> str:
    """Return the primary, although a fault of the replica may be there already."""
    sql = ["runuser", "-u", "postgres", "--", "psql", "-XAtqc", "SELECT pg_is_in_recovery()"]
    return next(host for host in DATABASES if lab.run(host, *sql, check=False).strip() == "f")


def undo(fault: Fault) -> None:
    """Undo a fault.

    Raises:
        AssertionError: Its script failed.
    """
    if isinstance(fault.inject, Kind):
        lab.heal(fault.host)
    else:
        lab.shell(fault.host, fault.undo)


def predict(faults: Iterable[Fault]) -> None:
    """Have each host with a difference find out what an apply would change."""
    hosts = {fault.host for fault in faults if fault.alarm == DRIFT}
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: lab.shell(host, PREDICT, check=False), sorted(hosts)))


def wrong() -> list[dict[str, str]]:
    """Return what verify.service finds wrong: `row`, `host`, `what` and `seen`."""
    done = lab.salt_run("verify.service")
    try:
        rows = json.loads(done.stdout)["rows"]
    except (ValueError, KeyError):
        return [{"row": "", "host": lab.master(), "what": done.stdout, "seen": done.stderr}]
    return [
        {"row": row, **{key: str(one[key]) for key in ("host", "what", "seen")}}
        for row, told in rows.items()
        for one in told.get("seen", ())
        if not one["good"]
    ]


def noticed(found: Sequence[Found], since: float) -> bool:
    """Note which faults were found by now, and return whether all of them were.

    Args:
        found: The faults of a round.
        since: When the round began.
    """
    failing, now = wrong(), time.time()
    mails = alarms.problems(since)
    for one in found:
        if one.verified is None and seen(one.fault, failing):
            one.verified = now - one.begun
        for mail in mails:
            subject = mail.subject.removeprefix(alarms.PROBLEM)
            if one.alarmed is None and subject.startswith(one.fault.subject):
                one.alarmed = max(0.0, mail.at - one.begun)
    return all(one.good or one.error for one in found)


if __name__ == "__main__":
    typer.run(main)
