"""Start the measurements: python -m bench [PART]...; by default all parts except `cold`."""

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from bench import (
    apply,
    backup,
    balance,
    cold,
    failover,
    files,
    machine,
    memory,
    pillar,
    release,
    rest,
    scale,
    topology,
    web,
)
from bench.restore import interruptible, restoring
from bench.result import FILE, Result, table, write
from lab.commands.console import complain, out, step
from lab.errors import LabError
from lab.exclusive import exclusive
from lab.machines import topology_file
from lab.paths import TOPOLOGY

Measure = Callable[[], Iterator[Result]]
WITHOUT_LAB: dict[str, Measure] = {"pillar": pillar.measure, "topology": topology.measure}
ON_LAB: dict[str, Measure] = {
    "memory": memory.measure,  # first, before the others load the hosts
    "rest": rest.measure,
    "web": web.measure,
    "balance": balance.measure,
    "files": files.measure,
    "apply": apply.measure,
    "failover": failover.measure,
    "scale": scale.measure,
    "backup": backup.measure,
    "release": release.measure,
}
COLD = "cold"  # measured whenever there is no lab; if there is one, only on request
NAMES = (*WITHOUT_LAB, COLD, *ON_LAB)


def main(
    parts: Annotated[
        list[str] | None,
        typer.Argument(help=f"What to measure: {', '.join(NAMES)}. By default all except {COLD}."),
    ] = None,
) -> None:
    """Measure the service on the lab, print each part when it ends, and write bench/results.json.

    Exit code 0 means that every result is within its bound.
    """
    out.print(machine.describe())
    report = Report(FILE)
    interruptible()
    try:
        measure(chosen(parts or []), report)
    except (LabError, AssertionError, ExceptionGroup) as error:
        complain(error if isinstance(error, LabError) else LabError(told(error), "bin/lab status"))
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        out.print("interrupted; the results so far are kept")
        raise SystemExit(130) from None
    finally:
        if report.results:
            file = FILE.relative_to(FILE.parents[1])
            out.print(f"\n  {file} has the same as JSON; docs/performance.md explains the results")
    if not all(result.holds for result in report.results):
        raise SystemExit(1)


def told(error: Exception) -> str:
    """Return the message of an error, or of each error of a group."""
    if isinstance(error, ExceptionGroup):
        return "\n".join([error.message, *(f"  {one}" for one in error.exceptions)])
    return str(error)


@dataclass
class Report:
    """The results so far. Each part is printed when it ends, and each result is stored at once."""

    path: Path
    results: list[Result] = field(default_factory=list)

    def take(self, name: str, results: Iterable[Result]) -> None:
        """Measure a part, and show that it is running.

        Args:
            name: The part.
            results: Its results, which are measured while they are read.
        """
        found: list[Result] = []
        try:
            with step(name):
                for result in results:
                    found.append(result)
                    self.results.append(result)
                    write(self.results, self.path)
        finally:
            if found:
                out.print(table(found, ""))


def chosen(parts: list[str]) -> list[str]:
    """Return the parts to measure, in their order.

    Args:
        parts: The requested parts; an empty list means all except COLD.

    Raises:
        LabError: A part is unknown, or the parts need root.
    """
    unknown = sorted(set(parts) - set(NAMES))
    if unknown:
        raise LabError(
            f"unknown part of the benchmark: {', '.join(unknown)}; "
            f"choose one of: {', '.join(NAMES)}",
            f"make bench ONLY={NAMES[0]}",
        )
    found = [name for name in NAMES if name in (parts or [*WITHOUT_LAB, *ON_LAB])]
    if os.geteuid() != 0 and set(found) - set(WITHOUT_LAB):
        raise LabError("the lab needs root", "run the same command with sudo")
    return found


def measure(names: list[str], report: Report) -> None:
    """Measure some parts. If they need the lab and there is none, start it and remove it again.

    Args:
        names: The parts.
        report: It gets the results.
    """
    for name in names:
        if name in WITHOUT_LAB:
            report.take(name, WITHOUT_LAB[name]())
    if set(names) - set(WITHOUT_LAB):
        with running_lab(fresh=COLD in names) as started:
            if started:
                report.take(COLD, started)
            with exclusive("bench"):
                for name in names:
                    if name in ON_LAB:
                        report.take(name, ON_LAB[name]())


@contextmanager
def running_lab(fresh: bool) -> Iterator[list[Result]]:
    """Have a healthy lab with the repository's own topology, and yield the results of starting it.

    Args:
        fresh: Whether to remove an existing lab first.

    Raises:
        LabError: The existing lab has another topology, or is unhealthy.
    """
    before = TOPOLOGY.exists()
    if before and topology_file.overridden():
        raise LabError("the lab has another topology than pillar/topology.yaml", "make up")
    if before and fresh:
        cold.down()
        cold.settle()
    with nullcontext() if before else restoring(cold.down):
        found = [] if before and not fresh else list(cold.measure())
        check_health()
        yield found
        check_health()


def check_health() -> None:
    """Raise LabError unless the whole lab is healthy."""
    done = subprocess.run([cold.LAB, "status"], capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"the lab is unhealthy:\n{done.stdout}{done.stderr}", "make up")


if __name__ == "__main__":
    typer.run(main)
