"""The lab's topology: choose it, check it, and keep it where the lab's commands find it."""

from pathlib import Path

import yaml

from lab.errors import LabError
from lab.paths import OVERRIDE, REPOSITORY, TOPOLOGY
from salina_fleet.model import definition, topology
from salina_fleet.model.topology import Topology

OWN_TOPOLOGY = REPOSITORY / "pillar/topology.yaml"
APPLICATIONS = REPOSITORY / "pillar/app"
FETCHABLE = "file:///srv/mirror/"  # the repositories of the lab's mirror begin with this


def choose(source: Path | None, app: str | None) -> tuple[str, bool]:
    """Return the topology's text for the lab, and whether it is the repository's own.

    Args:
        source: Another topology than pillar/topology.yaml.
        app: The name of a file of pillar/app, which replaces the topology's application.
            APPLICATION=DEFINITION replaces one application of a topology with several.

    Raises:
        LabError: The application is unknown, or the topology is missing or invalid.
    """
    name, _, chosen = (app or "").rpartition("=")
    known = sorted(path.stem for path in APPLICATIONS.glob("*.yaml"))
    if app is not None and chosen not in known:
        raise LabError(
            f"APP={app}: pillar/app has no {chosen!r}; choose one of: {', '.join(known)}",
            f"make up APP={known[0]}",
        )
    path = source or OWN_TOPOLOGY
    try:
        data = topology.load(path).to_dict()
    except topology.TopologyError as error:
        raise LabError(
            str(error), "correct the file, then: make up   (tests/topologies has examples)"
        ) from error
    if app is None:
        return path.read_text(), source is None
    names = list(data["applications"])
    if name not in names and (name or len(names) > 1):
        choices = " or ".join(f"APP={one}={chosen}" for one in names)
        raise LabError(
            f"APP={app} must name one of the topology's applications: {', '.join(names)}",
            f"make up with {choices}",
        )
    data["applications"][name or names[0]]["definition"] = chosen
    return yaml.safe_dump(data, sort_keys=False), False


def parse(text: str) -> Topology:
    """Return the topology that a text describes.

    Raises:
        LabError: The topology is invalid. The message has every fault.
    """
    try:
        return topology.loads(text, "topology")
    except topology.TopologyError as error:
        raise LabError(str(error), "correct the topology, then: make up") from error


def check_application(name: str) -> None:
    """Check that the lab's hosts can fetch an application.

    Args:
        name: The name of a file of pillar/app, without `.yaml`.

    Raises:
        LabError: The file is invalid, or names a repository outside the lab.
    """
    try:
        repository = definition.load(APPLICATIONS / f"{name}.yaml").source.repository
    except definition.DefinitionError as error:
        raise LabError(str(error), f"correct pillar/app/{name}.yaml, then: make up") from error
    if not repository.startswith(FETCHABLE):
        raise LabError(
            f"pillar/app/{name}.yaml: source.repository is {repository}, and the lab's hosts "
            f"cannot reach it; it must begin with {FETCHABLE}",
            "make up APP=odoo-14.0   (or APP=sample-crm: the lab's mirror has both)",
        )


def in_mirror(name: str) -> bool:
    """Return whether the code of an application comes from the lab's mirror.

    Args:
        name: The name of a file of pillar/app, without `.yaml`.

    Raises:
        LabError: The file is invalid or missing.
    """
    try:
        found = definition.load(APPLICATIONS / f"{name}.yaml")
    except definition.DefinitionError as error:
        raise LabError(str(error), f"correct pillar/app/{name}.yaml") from error
    return found.source.repository.startswith(FETCHABLE)


def read() -> Topology:
    """Return the running lab's topology.

    Raises:
        LabError: There is no lab on this machine.
    """
    if not TOPOLOGY.exists():
        raise LabError("there is no lab on this machine", "make up")
    return parse(TOPOLOGY.read_text())


def write(text: str, own: bool) -> None:
    """Keep the topology, and show it to the master unless it is the repository's own.

    The file is overwritten in place, because the master's bind mount shows the file itself and
    not its name.

    Args:
        text: The topology.
        own: Whether it is the repository's own.
    """
    OVERRIDE.mkdir(parents=True, exist_ok=True)
    TOPOLOGY.write_text(text)
    override = OVERRIDE / "topology.yaml"
    if own:
        override.unlink(missing_ok=True)
    else:
        override.write_text(text)


def overridden() -> bool:
    """Return whether the lab has another topology than the repository's own."""
    return (OVERRIDE / "topology.yaml").exists()
