"""The lab's topology: choose it, check it, and keep it where the lab's commands find it."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from lab.errors import LabError
from lab.mirror.cache import UNFINISHED, remove
from lab.paths import DEFINITIONS, FORMER, OVERRIDE, REPOSITORY, TOPOLOGY
from salina.application import git
from salina_fleet.model import definition, release, topology
from salina_fleet.model.definition import Definition
from salina_fleet.model.topology import Topology

OWN_TOPOLOGY = REPOSITORY / "pillar/topology.yaml"
APPLICATIONS = REPOSITORY / "pillar/app"
MIRRORED = "file:///srv/mirror/"  # the repositories that the lab makes itself begin with this


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


def definitions(topology: Topology) -> dict[str, Definition]:
    """Return the definitions of the topology's applications by their names.

    Args:
        topology: The lab's topology.

    Raises:
        LabError: A definition is invalid, or names a directory that the lab's hosts do not have.
    """
    found = {}
    for application in topology.applications.values():
        name = application.definition
        file = f"pillar/app/{name}.yaml"
        try:
            one = definition.load(APPLICATIONS / f"{name}.yaml")
        except definition.DefinitionError as error:
            raise LabError(str(error), f"correct {file}, then: make up") from error
        for source in release.sources(name, one.to_dict()).values():
            repository = source["repository"]
            if repository.startswith(git.LOCAL) and not repository.startswith(MIRRORED):
                raise LabError(
                    f"{file}: {source['place']}.repository is {repository}, a directory that the "
                    "lab's hosts do not have",
                    "write the URL that real hosts would use, and give the directory to the lab: "
                    f"make up APP={name} SOURCE={repository.removeprefix('file://')}",
                )
        found[name] = one
    return found


def sources(topology: Topology, given: str | None, revision: str | None) -> dict[str, Path]:
    """Return the clones on this machine that take the place of definitions' repositories.

    Args:
        topology: The lab's topology.
        given: DIR, or APPLICATION=DIR in a lab with several applications; None for none.
        revision: The revision of the clone; None for that of the definition.

    Returns:
        The directory by the name of the definition.

    Raises:
        LabError: The application is unknown or missing, its repository is the lab's own, or there
            is a revision without a clone.
    """
    if given is None and revision:
        raise LabError(
            f"REVISION={revision} needs SOURCE=DIR; without a clone the definition's own revision "
            "counts",
            "edit source.revision of the definition, then: make up",
        )
    if given is None:
        return {}
    application, _, place = given.rpartition("=")
    names = list(topology.applications)
    if application not in names and (application or len(names) > 1):
        raise LabError(
            f"SOURCE={given} must name one of the topology's applications: {', '.join(names)}",
            f"make up SOURCE={names[0]}=DIR",
        )
    one = topology.applications[application or names[0]]
    if in_mirror(one.definition):
        raise LabError(
            f"SOURCE={given}: the lab makes the repository of {one.definition} itself, so a clone "
            "cannot take its place",
            f"make up APP=NAME SOURCE={place}",
        )
    directory = Path(place).expanduser().resolve()
    if not directory.is_dir():
        raise LabError(
            f"SOURCE={given}: {directory} is not a directory",
            "give the directory of a clone, for example: git clone URL DIR",
        )
    return {one.definition: directory}


def write_revision(clones: Mapping[str, Path], revision: str | None) -> None:
    """Let the master see another revision in the definition of the application with a clone.

    A running master sees each definition either as it was or as it is now: its bind mount shows the
    directory itself and not its name, so the directory stays and its files are replaced.

    Args:
        clones: The clones, as `sources` returns them.
        revision: The revision; None for that of the definition.
    """
    if not revision:
        if DEFINITIONS.exists():
            remove(FORMER)
            DEFINITIONS.rename(FORMER)
        return
    new = DEFINITIONS.with_name(f"{DEFINITIONS.name}{UNFINISHED}")
    remove(new)
    new.mkdir(parents=True)
    for file in APPLICATIONS.glob("*.yaml"):
        text = file.read_text()
        if file.stem in clones:
            text = with_revision(text, revision)
        (new / file.name).write_text(text)
    if not DEFINITIONS.exists():
        new.rename(DEFINITIONS)
        return
    gone = {file.name for file in DEFINITIONS.iterdir()} - {file.name for file in new.iterdir()}
    for file in new.iterdir():
        file.replace(DEFINITIONS / file.name)
    for name in gone:
        (DEFINITIONS / name).unlink()
    new.rmdir()


def with_revision(text: str, revision: str) -> str:
    """Return the text of a definition with another revision of its code."""
    data = yaml.safe_load(text)
    data["source"]["revision"] = revision
    return yaml.safe_dump(data, sort_keys=False)


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
    return found.source.repository.startswith(MIRRORED)


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
    elif not override.exists() or override.read_text() != text:  # a master may be reading it
        override.write_text(text)


def overridden() -> bool:
    """Return whether the lab has another topology than the repository's own."""
    return (OVERRIDE / "topology.yaml").exists()
