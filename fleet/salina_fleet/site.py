"""The master's view of everything that it decides from: topology, settings, members, secrets.

`read` loads it from the repository and the state directory, and reports the faults of all files
together. One process of the master reads the files, and only after one of them changed; the others
get its result, be it good or bad (`shared`). So a pillar costs no more than its minion needs.
"""

from __future__ import annotations

import hashlib
import posixpath
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import salina
from salina.application import node
from salina.common import locks, reading, tree
from salina.common.reading import Stamp
from salina_fleet import pillar, ports, secrets
from salina_fleet.fleet import Fleet
from salina_fleet.kinds import KINDS
from salina_fleet.model import definition, members, settings, topology
from salina_fleet.model.firewall import FirewallSettings
from salina_fleet.model.members import Members
from salina_fleet.model.settings import COMPONENTS, OWN_FIREWALL, Settings
from salina_fleet.model.topology import Application, Host, Topology
from salina_fleet.revisions import Revisions
from salina_fleet.role import MasterData
from salina_fleet.schema import document
from salina_fleet.schema.document import DataError
from salina_fleet.schema.faults import not_among
from salina_fleet.shared import Shared

TOPOLOGY = "pillar/topology.yaml"
SETTINGS = "pillar/settings"
APPLICATIONS = "pillar/app"
LOCKS = "salt/locks"

PACKAGES = ("salina", "salina_fleet")
"""This project's Python, as the master imports it."""


class SiteError(DataError):
    """The faults of all files together, each line with its file, and the next command."""

    def __str__(self) -> str:
        return f"{super().__str__()}\nnext: salt-run topology.check"


@dataclass(frozen=True)
class Site:
    """Everything that was read: the fleet, the definitions, the digest of the minions' Python.

    `definitions` has the content of each file of pillar/app that the topology names, and `locks`
    the digest of each file of salt/locks.
    """

    root: Path
    state: Path
    fleet: Fleet
    definitions: Mapping[str, Mapping[str, Any]]
    locks: Mapping[str, str]
    tree: str

    @property
    def store(self) -> secrets.Store:
        """Return the store of the secrets; a secret is read when a minion needs it, and never
        kept.
        """
        return secrets.open_store(self.state)

    @property
    def revisions(self) -> Revisions:
        """Return the records of the commits."""
        return Revisions(self.state)

    @property
    def members_file(self) -> Path:
        """Return the file of the pools' active members."""
        return self.state / members.FILE

    @property
    def change_file(self) -> Path:
        """Return the file that every change of the fleet locks."""
        return self.state / "lock"

    def definition_of(self, host: Host) -> Mapping[str, Any]:
        """Return the definition of the application that an app host serves."""
        return self.definitions[self.fleet.topology.served_by(host).definition]

    @property
    def data(self) -> MasterData:
        """Return the data from which the master makes a pillar."""
        return MasterData(
            self.fleet,
            self.definitions,
            self.revisions,
            self.locks,
            self.store,
            self.tree,
            str(self.state),
        )

    def pillar(self, minion_id: str) -> dict[str, Any]:
        """Return one minion's pillar; raises as `salina_fleet.pillar.select` does."""
        return pillar.select(self.data, minion_id)


@dataclass(frozen=True)
class Result:
    """The result of reading all files.

    `files` has each file and folder that was read, with its stamp. `parts` are those of the site;
    None if there were `faults`.
    """

    files: Mapping[str, Stamp]
    parts: tuple[Any, ...] | None
    faults: tuple[str, ...]

    def current(self) -> bool:
        """Return whether the files are still the same."""
        return all(reading.stamp(path) == stamp for path, stamp in self.files.items())


_known: dict[tuple[str, str], tuple[Result, Site | None]] = {}


def read(root: str | Path, state: str | Path, cache: str | Path | None = None) -> Site:
    """Return everything in the repository `root` and the master's state directory `state`.

    Args:
        root: the repository.
        state: the master's state directory.
        cache: the master's cache directory, in which its processes share the result; None: each
            process reads the files itself.

    Raises:
        SiteError: some file has a fault; it has the faults of all files together.
    """
    key = (str(root), str(state))
    if key not in _known or not _known[key][0].current():
        root, state = Path(root), Path(state)
        result = _shared(root, state, Shared(cache)) if cache else _result(root, state)
        _known[key] = (result, _site(root, state, result))
    result, site = _known[key]
    if site is None:
        raise SiteError("salina", result.faults)
    return site


def planned(root: str | Path, state: str | Path, file: str | Path) -> Site:
    """Return everything with another topology: what an apply would read if it were the fleet's.

    Args:
        root: the repository.
        state: the master's state directory.
        file: the other topology. Its faults have this path.

    Raises:
        DataError: some file has a fault; it has the faults of all files together.
    """
    try:
        return _read(Path(root), Path(state), Path(file))
    except SiteError as error:
        own, other = f"{TOPOLOGY}: ", f"{file}: "
        faults = [
            fault.replace(own, other, 1) if fault.startswith(own) else fault
            for fault in error.faults
        ]
        raise DataError(str(file), faults) from None


def outdated() -> bool:
    """Tell whether the packages on disk differ from those that this process has imported."""
    return _own_files() != _imported


def _shared(root: Path, state: Path, shared: Shared) -> Result:
    """Return the result of the first process of the master that reads the files."""
    places = f"{root.absolute()}\0{state.absolute()}"
    name = hashlib.sha256(places.encode()).hexdigest()[:16]
    key = repr((places, sys.version, _imported))

    def found() -> Result | None:
        with document.at_once():
            result = shared.get(name, key)
        return result if isinstance(result, Result) and result.current() else None

    if result := found():
        return result
    with shared.making(name):
        if result := found():  # another process has made it meanwhile
            return result
        result = _result(root, state)
        shared.put(name, key, result)
        return result


def _result(root: Path, state: Path) -> Result:
    """Read the files."""
    with reading.noting() as files, document.at_once():
        try:
            site = _read(root, state)
        except SiteError as error:
            return Result(files, None, error.faults)
    fleet = site.fleet
    own = (fleet.topology, fleet.members, fleet.settings)
    return Result(files, (*own, site.definitions, site.locks, site.tree), ())


def _site(root: Path, state: Path, result: Result) -> Site | None:
    if result.parts is None:
        return None
    topology, members, settings, *others = result.parts
    return Site(root, state, Fleet(topology, members, settings), *others)


def _read(root: Path, state: Path, file: Path | None = None) -> Site:
    faults: list[str] = []
    settings = _settings(root, faults)
    sound = not faults
    topology = _topology(root, file or root / TOPOLOGY, settings, faults)
    members = _members(state, topology, faults)
    definitions = _definitions(root, topology, faults)
    faults += _copies(topology, definitions)
    faults += _platforms(topology, definitions)
    if sound:
        faults += _conflicts(topology, settings, definitions)
        faults += ports.collisions(topology, settings, definitions, faults)
    locks = _locks(root, faults)
    digest = _tree(root, faults)
    if faults:
        raise SiteError("salina", faults)
    fleet = Fleet(topology, members, settings)
    return Site(root, state, fleet, definitions, locks, digest)


def _settings(root: Path, faults: list[str]) -> Settings:
    """Return the settings; after a fault the defaults, so that the other files can be judged."""
    try:
        return settings.load(root / SETTINGS)
    except settings.SettingsError as error:
        faults += [_located(fault) for fault in error.faults]
    except DataError as error:
        faults += _prefixed(SETTINGS, error)
    return Settings()


def _located(fault: str) -> str:
    """Return a fault of a file in pillar/settings, or in pillar/local, with the file's path."""
    name, colon, message = fault.partition(": ")
    return f"{posixpath.normpath(f'{SETTINGS}/{name}')}{colon}{message}"


def _topology(root: Path, file: Path, settings: Settings, faults: list[str]) -> Topology:
    """Return the topology; a fault ends the reading, because all other files depend on it."""
    if file == root / TOPOLOGY:
        with suppress(DataError):  # the file itself cannot be read either then
            faults += _listed(root, Path(TOPOLOGY).parent, Path(TOPOLOGY).stem)[1]
    try:
        return topology.load(file, settings)
    except topology.TopologyError as error:
        raise SiteError("salina", faults + _prefixed(TOPOLOGY, error)) from error


def _listed(root: Path, folder: str | Path, stem: str | None = None) -> tuple[list[str], list[str]]:
    """Return the names of a folder's files, without .yaml, and the faults of `document.files`.

    Raises:
        DataError: the folder cannot be read.
    """
    files, faults = document.files(root / folder, stem)
    return [file.stem for file in files], [f"{folder}/{fault}" for fault in faults]


def _members(state: Path, topology: Topology, faults: list[str]) -> Members:
    """Return the pools' active members; after a fault the initial ones."""
    file = state / members.FILE
    try:
        return members.load(file, topology)
    except members.MembersError as error:
        faults += _prefixed(str(file), error)
        return topology.initial()


def _definitions(root: Path, topology: Topology, faults: list[str]) -> dict[str, Mapping[str, Any]]:
    """Return the definitions that the topology names and that have no fault."""
    found: dict[str, Mapping[str, Any]] = {}
    try:
        there, lines = _listed(root, APPLICATIONS)
    except DataError as error:
        faults += _prefixed(APPLICATIONS, error)
        return found
    faults += lines
    for one in topology.applications.values():
        if one.definition in found:
            continue
        try:
            found[one.definition] = _definition(root, one, there)
        except SiteError as error:
            faults += error.faults
        else:
            faults += _lock_missing(root, one.definition, found[one.definition])
    return found


def _definition(root: Path, application: Application, there: Collection[str]) -> Mapping[str, Any]:
    """Return the content of an application's file, pillar/app/<definition>.yaml.

    Args:
        root: the repository.
        application: the application.
        there: the names of all definitions.

    Raises:
        SiteError: the file does not exist, or has faults; it has every fault.
    """
    name = application.definition
    file = f"{APPLICATIONS}/{name}.yaml"
    if name not in there:
        fault = not_among(name, there, f"a file of {APPLICATIONS}")
        path = f"applications.{application.name}.definition"
        raise SiteError("salina", [f"{TOPOLOGY}: {path}: {fault}"])
    try:
        return definition.load(root / file).to_dict()
    except definition.DefinitionError as error:
        raise SiteError("salina", _prefixed(file, error)) from error


def _lock_missing(root: Path, name: str, content: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lock that a definition names and that does not exist."""
    kind = KINDS[content["kind"]]
    wanted = kind.lock(content[kind.name])
    if wanted is None or (root / LOCKS / wanted[1]).is_file():
        return
    key, file = wanted[0], Path(wanted[1])
    tools = f".build{file.suffix}"
    files = (path.name for path in sorted((root / LOCKS).glob(f"*{file.suffix}")))
    there = [one.removesuffix(file.suffix) for one in files if not one.endswith(tools)]
    fault = not_among(file.stem, there, f"a lock of {LOCKS}")
    yield f"{APPLICATIONS}/{name}.yaml: {kind.name}.{key}: {fault}"


def _locks(root: Path, faults: list[str]) -> dict[str, str]:
    """Return the digest of each lock, and add what prevents pip and npm from using one."""
    judges = {".txt": locks.faults, ".json": node.unverified}
    found = {}
    try:
        names = [name for name in reading.names(root / LOCKS) if "." in name]
    except OSError as error:
        faults.append(f"{LOCKS}: the folder cannot be read: {error.strerror}")
        return {}
    for name in sorted(names, key=lambda name: (not name.endswith(".txt"), name)):
        judge = judges.get(Path(name).suffix)
        try:
            content = reading.read(root / LOCKS / name)
            lines = judge(content.decode()) if judge else []
            if name.endswith(".txt") and not name.endswith(".build.txt"):
                built, tools = locks.sources(content.decode()), locks.tools(name)
                if built and tools not in names:
                    words = f"{tools} is missing, which must have the tools that build"
                    lines.append(f"{words} {', '.join(built)}; {locks.REMEDY}")
        except OSError as error:
            faults.append(f"{LOCKS}/{name}: the file cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            faults.append(f"{LOCKS}/{name}: the file is not text in UTF-8; save it as UTF-8")
        else:
            faults += [f"{LOCKS}/{name}: {line}" for line in lines]
            found[name] = hashlib.sha256(content).hexdigest()
    return found


def _tree(root: Path, faults: list[str]) -> str:
    """Return the digest of the Python that minions are served."""
    try:
        for kind in tree.KINDS:
            _walk(root / f"_{kind}")
        return tree.of_repository(root, reading.read)
    except OSError as error:
        where = Path(error.filename)
        inside = where.relative_to(root) if where.is_relative_to(root) else where
        faults.append(f"{inside}: it cannot be read: {error.strerror}")
        return ""


def _walk(folder: Path) -> None:
    """Note the folders in which Python would be found, and raise an error for a closed one."""
    for name in reading.names(folder):
        path = folder / name
        if path.is_dir() and not path.is_symlink() and name != "__pycache__":
            _walk(path)


def _copies(topology: Topology, definitions: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Yield each copy that is of another kind than its original."""
    for one in topology.copies:
        names = (one.definition, topology.applications[one.copy_of or ""].definition)
        if not all(name in definitions for name in names):
            continue
        own, original = (definitions[name]["kind"] for name in names)
        if own != original:
            yield (
                f"{TOPOLOGY}: applications.{one.name}.definition: {names[0]} has kind {own}, and "
                f"{names[1]} of {one.copy_of} has {original}; a copy needs the same kind"
            )


def _platforms(topology: Topology, definitions: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what the platform of an application's hosts does not have."""
    for one in topology.applications.values():
        definition = definitions.get(one.definition)
        if definition is None:
            continue
        kind, platform = definition["kind"], topology.platform("app", one.name)
        if kind in platform.without:
            yield (
                f"{TOPOLOGY}: applications.{one.name}.definition: {one.definition} has kind "
                f"{kind}, which needs {platform.without[kind]}; {platform.title} does not have it; "
                "choose another platform for its hosts"
            )
            continue
        for key, message in KINDS[kind].unfit(definition[kind], platform):
            yield (
                f"{APPLICATIONS}/{one.definition}.yaml: {kind}.{key}: {message}; the hosts of "
                f"{one.name} have platform {platform.name}"
            )


def _conflicts(
    topology: Topology, settings: Settings, definitions: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return the settings that do not fit the topology, each other, or an application."""
    found = []
    for component, kind in COMPONENTS.items():
        for key, message in settings[kind].conflicts(topology, settings, definitions):
            own = settings[FirewallSettings].own_key(key) if kind is FirewallSettings else None
            name = OWN_FIREWALL if own else f"{component}.yaml"
            found.append(_located(f"{name}: {own or key}: {message}"))
    return found


def _prefixed(name: str, error: DataError) -> list[str]:
    return [f"{name}: {fault}" for fault in error.faults]


def _own_files() -> Mapping[str, Stamp]:
    places = (Path(__file__).parent, Path(salina.__file__).parent)
    kinds = ("*.py", "*.csv")
    files = sorted(str(file) for place in places for kind in kinds for file in place.rglob(kind))
    return {file: reading.stamp(file) for file in files}


_imported = _own_files()
