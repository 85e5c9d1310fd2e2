"""Write a Compose file with everything that it needs: `make compose`."""

from pathlib import Path
from typing import Annotated

import typer

from lab.compose import files, plan
from lab.errors import LabError
from lab.machines import plan as machines
from lab.machines import topology_file
from lab.paths import REPOSITORY
from salina_fleet.fleet import Fleet
from salina_fleet.model import settings
from salina_fleet.model.settings import SettingsError

DIRECTORY = REPOSITORY / "compose"


def main(
    topology: Annotated[
        Path | None, typer.Option(help="The topology to use, instead of pillar/topology.yaml.")
    ] = None,
    app: Annotated[
        str | None, typer.Option(help="A file of pillar/app, instead of the topology's.")
    ] = None,
    directory: Annotated[
        Path, typer.Option(help="Where to write. Keys that are there already stay.")
    ] = DIRECTORY,
) -> None:
    """Write docker-compose.yaml, the image's files, and the first files of each host."""
    try:
        text, own = topology_file.choose(topology, app)
        found = topology_file.parse(text)
        tuned = settings.load(REPOSITORY / "pillar/settings")
        fleet = Fleet(found, found.initial(), tuned)
        wanted = machines.make(found, found.initial())
        content = plan.render(fleet, wanted, REPOSITORY, own)
        files.write(directory, content, None if own else text, wanted)
    except (LabError, SettingsError) as error:
        advice = getattr(error, "advice", "")
        typer.echo(f"{error}\n{advice}".strip(), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{directory}/docker-compose.yaml: its first lines say how to start it")
    for name in {one.definition for one in found.applications.values()}:
        if topology_file.in_mirror(name):
            typer.echo(
                f"note: pillar/app/{name}.yaml takes its code from the lab's mirror, which these "
                "containers do not have; choose another one, such as: make compose APP=crm-2017"
            )


if __name__ == "__main__":
    typer.run(main)
