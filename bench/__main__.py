"""Entry: python -m bench [PART]...; no part: all of them."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from bench import apply, balance, cold, failover, files, machine, memory, pillar, scale, web
from bench.result import FILE, Result, table, write
from lab.commands.console import complain, out, step
from lab.errors import LabError
from lab.exclusive import exclusive
from lab.machines import hosts as fleet
from lab.paths import TOPOLOGY

Measure = Callable[[], Iterator[Result]]
WITHOUT_LAB: dict[str, Measure] = {"pillar": pillar.measure}
ON_LAB: dict[str, Measure] = {
    "memory": memory.measure,  # first, while nothing has been asked of the hosts
    "web": web.measure,
    "balance": balance.measure,
    "files": files.measure,
    "apply": apply.measure,
    "failover": failover.measure,
    "scale": scale.measure,
}
COLD = "cold"  # measured when there is no lab; asked for by name, also when there is one
NAMES = (*WITHOUT_LAB, COLD, *ON_LAB)


def main(parts: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Measure, show a table, and keep the figures; exit code 1: a bound is missed."""
    description = machine.describe()
    results: list[Result] = []
    try:
        for result in measured(chosen(parts or [])):
            results.append(result)
    except (LabError, AssertionError) as error:
        complain(error if isinstance(error, LabError) else LabError(str(error), "bin/lab status"))
        raise SystemExit(1) from None
    finally:
        if results:
            out.print(table(results, description))
            write(results)
            out.print(f"\n  {FILE.relative_to(FILE.parents[1])}; docs/performance.md explains them")
    if not all(result.holds for result in results):
        raise SystemExit(1)


def chosen(parts: list[str]) -> list[str]:
    """Return the parts to measure, in their order.

    :raises LabError: there is no such part, or no root
    """
    unknown = sorted(set(parts) - set(NAMES))
    if unknown:
        raise LabError(f"no measure {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    found = [name for name in NAMES if name in (parts or [*WITHOUT_LAB, *ON_LAB])]
    if os.geteuid() != 0 and set(found) - set(WITHOUT_LAB):
        raise LabError("the lab needs root", "the same command with sudo")
    return found


def measured(names: list[str]) -> Iterator[Result]:
    """Measure some parts; the lab, if they need it, is afterwards there or not as before."""
    for name in names:
        if name in WITHOUT_LAB:
            yield from shown(name, WITHOUT_LAB[name])
    if set(names) - set(WITHOUT_LAB):
        with standing(anew=COLD in names) as found:
            yield from found
            with exclusive("bench"):
                for name in names:
                    if name in ON_LAB:
                        yield from shown(name, ON_LAB[name])


def shown(name: str, measure: Measure) -> list[Result]:
    """Measure a part, and show that it is under way."""
    with step(name):
        return list(measure())


@contextmanager
def standing(anew: bool) -> Iterator[list[Result]]:
    """Have the lab stand, healthy and with the repository's own topology.

    :param anew: also when it stands already; what its coming up gave is returned
    :raises LabError: it stands, but is another one or not well
    """
    before = TOPOLOGY.exists()
    if before and fleet.overridden():
        raise LabError("the lab has another topology than pillar/topology.yaml", "make up")
    if before and anew:
        cold.down()
    try:
        found = [] if before and not anew else list(cold.measure())
        healthy()
        yield found
        healthy()
    finally:
        if not before:
            cold.down()


def healthy() -> None:
    """Raise LabError unless all of the lab is well."""
    done = subprocess.run([cold.LAB, "status"], capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"the lab is not well:\n{done.stdout}{done.stderr}", "make up")


if __name__ == "__main__":
    typer.run(main)
