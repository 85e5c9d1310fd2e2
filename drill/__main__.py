"""Start the drills: python -m drill [HOST|KIND|SERVICE]...; by default all of them."""

from contextlib import ExitStack
from typing import Annotated

import typer

from drill.cases import cases, chosen
from drill.measure import GOES_ON, HEADINGS, RECOVERY, Outcome, checked, measure
from drill.ready import alarmed, breaking, trouble
from drill.table import markdown
from lab.commands.console import out, step
from lab.errors import LabError
from lab.machines import inventory
from lab.machines.faults import Fault
from salina.common import wait
from tests import fleets
from tests.lab import alarms, lab
from tests.lab.traffic import Writer, wait_for


def main(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[HOST|KIND|SERVICE]...",
            help="Which drills, for example bbdd1 freeze. By default all of them.",
        ),
    ] = None,
) -> None:
    """Break every host of the lab in every way, under traffic, and show what its clients notice.

    Exit code 0 means that no acknowledged row and no file was lost, and that all was well again
    after each drill.
    """
    outcomes: list[Outcome] = []
    try:
        with breaking("drill"):
            run(chosen(present(), words or []), outcomes)
    finally:
        if outcomes:
            table = markdown(HEADINGS, [one.cells() for one in outcomes])
            out.print(f"\n{table}", markup=False)
    if not all(one.good for one in outcomes):
        raise SystemExit(1)


def present() -> list[Fault]:
    """Return every drill whose service is there."""
    fleet = fleets.fleet()
    found = list(cases(fleet, fleets.definitions(fleet.topology)))
    active = {
        machine.name: lab.run(
            machine.name, "systemctl", "list-units", "--state=active", "--plain", "--no-legend"
        )
        for machine in inventory.current_plan().minions
    }
    return [
        one
        for one in found
        if not one.service or f"{one.service}.service " in active.get(one.host, "")
    ]


def run(drills: list[Fault], outcomes: list[Outcome]) -> None:
    """Run drills one after another, as long as all is well between them.

    Args:
        drills: The drills.
        outcomes: It gets their outcomes.

    Raises:
        LabError: Something is not well after a drill.
    """
    with ExitStack() as stack:
        with step("traffic, and a mail server for the alarms"):
            stack.enter_context(alarms.sink())
            writer = stack.enter_context(Writer())
            wait_for([writer], GOES_ON)
        for place, drill in enumerate(drills, start=1):
            with step(f"{drill} ({place} of {len(drills)})"):
                outcome = attempt(drill, writer)
                outcomes.append(outcome)
            if not outcome.good:
                out.print(f"  {drill}: {outcome.error or outcome.history}", markup=False)
            for line in (*outcome.failed, *outcome.files):
                out.print(f"    {line}", markup=False)
            found = wait.until(lambda: not (trouble() or alarmed()), RECOVERY)
            if not found:
                raise LabError(
                    f"the fleet is not well after {drill}:\n{trouble() or alarmed()}",
                    "bin/lab status",
                )
        history = checked(writer)
        out.print(f"\n{history}", markup=False)
        if not history.good:
            raise LabError("the history of the acknowledged writes is not good", "docs/drills.md")


def attempt(drill: Fault, writer: Writer) -> Outcome:
    """Run a drill, and return its outcome, also when it has not come to its end."""
    try:
        return measure(drill, writer)
    except (LabError, AssertionError, TimeoutError) as error:
        return Outcome(drill, error=" ".join(str(error).split())[:200])


if __name__ == "__main__":
    typer.run(main)
