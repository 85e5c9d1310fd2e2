"""The lab's commands."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from lab.commands import lifecycle
from lab.commands import status as health
from lab.commands.console import complain, out
from lab.errors import LabError
from lab.machines import containers, faults
from lab.machines import hosts as fleet
from lab.machines.plan import Machine, Plan

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True}
SALT = {**PASS_THROUGH, "help_option_names": []}  # `bin/lab salt --help` is Salt's own


def pick(wanted: Plan, names: list[str]) -> list[Machine]:
    """Return the machines of those names.

    :raises LabError: a name is unknown, or a member's host is not there
    """
    try:
        found = [wanted.machine(name) for name in names]
    except KeyError as error:
        known = ", ".join(machine.name for machine in wanted.machines)
        raise LabError(f"no host {error.args[0]} in the lab; there are: {known}") from error
    there = containers.existing()
    for machine in found:
        if machine.container not in there:
            raise LabError(f"{machine.name} has not been made, or was removed", "bin/lab status")
    return found


def replace(argv: list[str]) -> None:
    """Go on as another command: its input, output, signals and exit code are this one's."""
    sys.stdout.flush()
    os.execvp(argv[0], argv)


def enter(machine: Machine, argv: list[str]) -> None:
    """Go on as a command within a host.

    :raises LabError: the host doesn't run
    """
    if not containers.answers(machine):
        raise LabError(f"{machine.name} is stopped or frozen", "bin/lab heal (or: make up)")
    replace(containers.attach(machine, argv))


@app.callback()
def root(context: typer.Context) -> None:
    """The fleet on one machine."""
    if os.geteuid() != 0 and context.invoked_subcommand != "up":  # which tells all that lacks
        raise LabError("the lab needs root", "the same command with sudo")


# Life


@app.command()
def up(
    topology: Annotated[Path | None, typer.Option(help="Instead of pillar/topology.yaml.")] = None,
    app_name: Annotated[
        str | None,
        typer.Option("--app", help="A file of pillar/app, instead of the topology's; NAME=FILE."),
    ] = None,
    deploy: Annotated[bool, typer.Option(help="Deploy once the minions answer.")] = True,
) -> None:
    """Start the lab or bring it up to date, and deploy."""
    lifecycle.up(topology, app_name, deploy)


@app.command()
def down() -> None:
    """Stop and remove the lab; its caches stay."""
    lifecycle.down()


@app.command()
def clean() -> None:
    """Stop and remove the lab and its caches."""
    lifecycle.clean()


@app.command()
def rebuild(hosts: list[str]) -> None:
    """Make hosts anew: bare, with the keys they had."""
    lifecycle.rebuild(pick(fleet.current(), hosts))


@app.command()
def add(host: str) -> None:
    """Make a new host of a pool: bare, with a minion."""
    lifecycle.add(host)


@app.command()
def remove(host: str) -> None:
    """Away with a host of a pool, as a cloud loses it."""
    lifecycle.remove(host)


@app.command()
def snapshot(name: str) -> None:
    """Keep the lab as it is; hosts stop and start."""
    lifecycle.snapshot(name)


@app.command()
def restore(name: str) -> None:
    """Take the lab back to a snapshot."""
    lifecycle.restore(name)


# Looking and working


@app.command()
def status() -> None:
    """Show the health of all; exit code 0: all is well."""
    wanted = fleet.current()
    with out.status("asking all hosts …"):
        rows = health.look(wanted, fleet.topology())
    out.print(health.table(rows, faults.read()))
    if not all(row.good for row in rows):
        raise SystemExit(1)


@app.command("exec", context_settings=PASS_THROUGH)
def execute(context: typer.Context, host: str) -> None:
    """Run a command on a host: exec HOST -- CMD..."""
    enter(pick(fleet.current(), [host])[0], context.args or ["bash", "--login"])


@app.command(context_settings=SALT)
def salt(context: typer.Context) -> None:
    """Run salt on the master: salt '*' test.ping."""
    enter(fleet.current().master, ["salt", *context.args])


@app.command("salt-run", context_settings=SALT)
def salt_run(context: typer.Context) -> None:
    """Run salt-run there: salt-run topology.check."""
    enter(fleet.current().master, ["salt-run", *context.args])


@app.command()
def forward() -> None:
    """Serve the CRM on 127.0.0.1:8443 and :8080 here."""
    lifecycle.forward()


# Faults


@app.command()
def fault(
    kind: faults.Kind, names: Annotated[list[str], typer.Argument(metavar="[NAME] HOST...")]
) -> None:
    """Break hosts on purpose: KIND HOST..., service-kill NAME HOST..."""
    wanted = fleet.current()
    service, hosts = "", names
    if kind is faults.Kind.SERVICE_KILL:
        service, *hosts = names
    if not hosts:
        raise LabError("which host?", "bin/lab fault service-kill NAME HOST")
    faults.inject(kind, pick(wanted, hosts), service)


@app.command()
def heal(hosts: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """End all faults, or those of some hosts."""
    wanted = fleet.current()
    for one in faults.heal(pick(wanted, hosts) if hosts else wanted.machines):
        out.print(f"healed: {one}")


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
