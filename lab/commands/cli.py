"""The lab's command line."""

import json
import os
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from lab.commands import lifecycle, status
from lab.commands.console import complain, out
from lab.errors import LabError
from lab.machines import containers, faults, inventory, topology_file
from lab.machines.plan import Machine, Plan
from salina_fleet import health

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True}
SALT = {**PASS_THROUGH, "help_option_names": []}  # Salt itself answers `bin/lab salt --help`
FAULT_KINDS = """Break hosts on purpose, until `bin/lab heal` repairs them.

\b
link-down     unplug all network cables of the host
freeze        halt all processes of the host
slow          give the host a fifth of one core
kill          end the host at once, like a power cut
stop          shut the host down cleanly
service-kill  kill one systemd service with SIGKILL; NAME is the service

\b
Examples:
  bin/lab fault freeze nas1 nas2
  bin/lab fault service-kill nginx s1
"""

PoolHost = Annotated[str, typer.Argument(metavar="HOST", help="A host of a pool, for example s4.")]
SnapshotName = Annotated[
    str, typer.Argument(metavar="NAME", help="The name of the snapshot, for example deployed.")
]


def pick(wanted: Plan, names: list[str]) -> list[Machine]:
    """Return the machines of those names.

    Raises:
        LabError: A name is unknown, or its host does not exist.
    """
    try:
        found = [wanted.machine(name) for name in names]
    except KeyError as error:
        known = ", ".join(machine.name for machine in wanted.machines)
        raise LabError(
            f"{error.args[0]!r} is not a host of the lab; choose one of: {known}", "bin/lab status"
        ) from error
    existing = containers.existing()
    for machine in found:
        if machine.container not in existing:
            raise LabError(
                f"{machine.name} does not exist: it was removed or never created", "bin/lab status"
            )
    return found


def replace(argv: list[str]) -> None:
    """Replace this process by another command, which gets its input, output and signals."""
    sys.stdout.flush()
    os.execvp(argv[0], argv)


def enter(machine: Machine, argv: list[str]) -> None:
    """Replace this process by a command within a host.

    Raises:
        LabError: The host does not run.
    """
    if not containers.answers(machine):
        raise LabError(f"{machine.name} is stopped or frozen", "bin/lab heal (or: make up)")
    replace(containers.attach(machine, argv))


class AsRoot(TyperCommand):
    """A command that needs root. Everybody can read its help."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            LabError: The user is not root.
        """
        if os.geteuid() != 0:
            raise LabError("the lab needs root", "run the same command with sudo")
        return super().invoke(ctx)


command = partial(app.command, cls=AsRoot)


@app.callback()
def root() -> None:
    """Run the whole fleet on this machine, one container for each host.

    The lab needs root. Most people begin with `make up`, which runs `bin/lab up`.

    `bin/lab salt --help` and `bin/lab salt-run --help` show the help of Salt, not of the lab.
    """


# Create and remove


@app.command()  # it reports a missing root together with all other faults of the machine
def up(
    topology: Annotated[
        Path | None, typer.Option(help="The topology to use, instead of pillar/topology.yaml.")
    ] = None,
    app_name: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="[APPLICATION=]DEFINITION",
            help="Deploy pillar/app/DEFINITION.yaml, for example sample-crm, instead of the "
            "definition in the topology. With several applications, APPLICATION= says which one.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="[APPLICATION=]DIR",
            help="A clone on this machine to copy into the mirror, instead of the repository that "
            "the definition names.",
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(
            help="The branch, tag or commit of the clone to deploy, instead of the revision in the "
            "definition."
        ),
    ] = None,
    deploy: Annotated[
        bool, typer.Option(help="Let Salt deploy the service once all hosts are running.")
    ] = True,
) -> None:
    """Start the lab, or bring it up to date, and deploy."""
    lifecycle.up(topology, app_name, source, revision, deploy)


@command()
def down() -> None:
    """Stop and remove the lab, but keep its caches."""
    lifecycle.down()


@command()
def clean() -> None:
    """Stop and remove the lab and its caches."""
    lifecycle.clean()


@command()
def rebuild(
    hosts: Annotated[
        list[str], typer.Argument(metavar="HOST", help="The hosts, for example s1 nas3.")
    ],
) -> None:
    """Replace hosts with new, empty ones that keep the same keys.

    The new hosts stay empty until you run `bin/lab salt HOST state.apply`.
    """
    lifecycle.rebuild(pick(inventory.current_plan(), hosts))


@command()
def add(host: PoolHost) -> None:
    """Create a new host for a pool. It has only a Salt minion, and joins the pool by itself."""
    lifecycle.add(host)


@command()
def remove(host: PoolHost) -> None:
    """Delete a host of a pool, as a cloud failure would.

    Salt and the balancers get no warning.
    """
    lifecycle.remove(host)


@command()
def snapshot(name: SnapshotName) -> None:
    """Save the whole lab under a name; its hosts restart."""
    lifecycle.snapshot(name)


@command()
def restore(name: SnapshotName) -> None:
    """Return the whole lab to a snapshot."""
    lifecycle.restore(name)


# Look and work


@command("status")
def show_status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show the health of every host and tier.

    Exit code 0 means that everything is healthy.
    """
    wanted = inventory.current_plan()
    with nullcontext() if as_json else out.status("asking all hosts …"):
        hosts, tiers, others = status.look(wanted, topology_file.read())
    found = health.data(hosts, tiers, **others)
    if as_json:
        print(json.dumps({**found, "faults": [str(fault) for fault in faults.read()]}, indent=2))
    else:
        out.print(status.table([*hosts, *tiers, *others.values()], faults.read()))
    if not found["healthy"]:
        raise SystemExit(1)


@command("exec", context_settings=PASS_THROUGH, options_metavar="")
def execute(
    context: typer.Context,
    host: Annotated[
        str,
        typer.Argument(
            metavar="HOST [-- COMMAND...]",
            help="The host, for example s1; after `--` the command, if any.",
        ),
    ],
) -> None:
    """Run a command on a host, or open a shell if no command is given.

    Example: bin/lab exec s1 -- systemctl status nginx
    """
    enter(pick(inventory.current_plan(), [host])[0], context.args or ["bash", "--login"])


@command(context_settings=SALT)
def salt(context: typer.Context) -> None:
    """Run salt on the master: bin/lab salt '*' test.ping."""
    enter(inventory.current_plan().master, ["salt", *context.args])


@command("salt-run", context_settings=SALT)
def salt_run(context: typer.Context) -> None:
    """Run salt-run on the master: bin/lab salt-run topology.check."""
    enter(inventory.current_plan().master, ["salt-run", *context.args])


@command()
def forward() -> None:
    """Serve the CRM on this machine, for a browser.

    The service is at 127.0.0.1:8443 (HTTPS) and 127.0.0.1:8080 (HTTP) until Ctrl-C. It answers to
    the applications' domains only, so /etc/hosts must name them. The page of monitoring is at
    https://127.0.0.1:8081/, if the lab has a monitoring host.
    """
    lifecycle.forward()


# Faults


@command(help=FAULT_KINDS)
def fault(
    kind: Annotated[faults.Kind, typer.Argument(metavar="KIND", help="The kind of the fault.")],
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME] HOST",
            help="The hosts. For service-kill, give the service's NAME first.",
        ),
    ],
) -> None:
    """Break hosts on purpose."""
    wanted = inventory.current_plan()
    service, hosts = "", names
    if kind is faults.Kind.SERVICE_KILL:
        service, *hosts = names
    if not hosts:
        raise LabError(
            "service-kill needs a service and a host", "bin/lab fault service-kill NAME HOST"
        )
    faults.inject(kind, pick(wanted, hosts), service)


@command()
def heal(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(metavar="HOST", help="The hosts; by default all of them."),
    ] = None,
) -> None:
    """Undo the faults on the given hosts, or on all hosts."""
    wanted = inventory.current_plan()
    for one in faults.heal(pick(wanted, hosts) if hosts else wanted.machines):
        out.print(f"healed: {one}")


def main() -> None:
    """Run the command line. An error is printed with its advice, and the exit code is 1."""
    try:
        app(prog_name="bin/lab")
    except LabError as error:
        complain(error)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        out.print("interrupted; next: make up (to continue) or make down (to remove the lab)")
        raise SystemExit(130) from None
