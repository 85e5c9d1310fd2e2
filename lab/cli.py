"""The lab's commands."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from lab import containers, fleet, network, preflight
from lab.console import complain, out, step
from lab.errors import LabError
from lab.exclusive import exclusive
from lab.paths import STATE
from lab.plan import Machine, Plan

app = typer.Typer(
    help="The fleet on one machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True}


def pick(wanted: Plan, names: list[str]) -> list[Machine]:
    """Return the machines of those names.

    :raises LabError: a name is unknown
    """
    try:
        return [wanted.machine(name) for name in names]
    except KeyError as error:
        known = ", ".join(machine.name for machine in wanted.machines)
        raise LabError(f"no host {error.args[0]} in the lab; there are: {known}") from error


@app.command()
def up(
    topology: Annotated[Path | None, typer.Option(help="Instead of pillar/topology.yaml.")] = None,
    app_name: Annotated[
        str | None, typer.Option("--app", help="A file of pillar/app, instead of the topology's.")
    ] = None,
    deploy: Annotated[bool, typer.Option(help="Deploy once the minions answer.")] = True,
) -> None:
    """Start the lab, or bring it to what the repository says; deploy with Salt."""
    text, own = fleet.choose(topology, app_name)
    wanted_topology = fleet.parse(text)
    preflight.ensure()
    from lab import image

    with exclusive("up"):
        base = image.ensure()
        STATE.mkdir(parents=True, exist_ok=True)
        fleet.write_topology(text, own)
        wanted = fleet.current()
        with step("network"):
            containers.remove_groups()
            network.ensure(wanted.bridges)
        with step(f"{len(wanted.machines)} hosts"):
            gone = fleet.remove_strangers(wanted)
            fleet.ensure_machines(wanted, wanted_topology, base)
        with step("master"):
            fleet.ensure_master(wanted, own, gone)
        with step(f"{len(wanted.minions)} minions connect"):
            fleet.wait_for_minions(wanted)


@app.command()
def down() -> None:
    """Stop and remove the lab: no process, mount, namespace or control group is left."""
    with exclusive("down"), step("lab removed"):
        fleet.remove_all()


@app.command()
def rebuild(hosts: list[str]) -> None:
    """Make hosts anew: bare, with the keys and addresses they had."""
    from lab import image

    with exclusive("rebuild"):
        wanted = fleet.current()
        machines = pick(wanted, hosts)
        base = image.ensure()
        with step(f"{', '.join(hosts)} anew"):
            fleet.rebuild(machines, wanted, base)
        minions = [machine for machine in machines if machine.minion]
        if minions:
            with step("minions connect"):
                fleet.wait_for_minions(wanted, minions)


@app.command("exec", context_settings=PASS_THROUGH)
def execute(context: typer.Context, host: str) -> None:
    """Run a command on a host: bin/lab exec HOST -- CMD..."""
    machine = pick(fleet.current(), [host])[0]
    replace(containers.attach(machine, context.args or ["bash", "--login"]))


@app.command(context_settings=PASS_THROUGH)
def salt(context: typer.Context) -> None:
    """Run salt on the master: bin/lab salt '*' test.ping."""
    replace(containers.attach(fleet.current().master, ["salt", *context.args]))


@app.command("salt-run", context_settings=PASS_THROUGH)
def salt_run(context: typer.Context) -> None:
    """Run salt-run on the master: bin/lab salt-run topology.check."""
    replace(containers.attach(fleet.current().master, ["salt-run", *context.args]))


def replace(argv: list[str]) -> None:
    """Go on as another command: its input, output, signals and exit code are this one's."""
    sys.stdout.flush()
    os.execvp(argv[0], argv)


def main() -> None:
    """Run a command; a fault is printed with its advice, and the exit code is 1."""
    try:
        app(prog_name="bin/lab")
    except LabError as error:
        complain(error)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        out.print("interrupted; next: make up (goes on) or make down")
        raise SystemExit(130) from None
