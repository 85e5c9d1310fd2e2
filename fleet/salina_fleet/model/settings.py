"""How each component is tuned: pillar/settings/<component>.yaml as dataclasses with defaults.

A file may be missing or empty; a key that it does not have keeps its default. An unknown key or a
value of the wrong kind is a fault with file and path. Durations are written as the daemons write
them (`500ms`, `5s`). A role's settings are in its file; here are those of the whole fleet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from salina_fleet.model.clock import TimeSettings
from salina_fleet.model.drift import DriftSettings
from salina_fleet.model.firewall import FirewallSettings, OwnFirewall
from salina_fleet.model.logs import LogSettings
from salina_fleet.model.ssh import SshSettings
from salina_fleet.model.tls import TlsSettings
from salina_fleet.model.updates import UpdateSettings
from salina_fleet.role import Tuning
from salina_fleet.roles import ROLES
from salina_fleet.schema import document
from salina_fleet.schema.declare import flag, number, read, text
from salina_fleet.schema.document import DataError
from salina_fleet.schema.faults import invalid, not_among, unknown

if TYPE_CHECKING:
    from salina_fleet.model.topology import Topology

T = TypeVar("T", bound=Tuning)


class SettingsError(DataError):
    """Settings with faults: `source` (the folder) and `faults` (one line each)."""


@dataclass(frozen=True)
class AutoscaleSettings(Tuning):
    """A pool that grows and shrinks by its load: the requests that each host is working on."""

    enabled: bool = flag(False, "Whether the master changes the pool by its load.")
    pool: str = text(
        "app",
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "the name of a pool of pillar/topology.yaml",
        about="The pool of app hosts that grows and shrinks.",
    )
    above: int = number(
        20, 1, 100_000, "The pool grows while each host has more requests in progress."
    )
    below: int = number(
        8,
        0,
        100_000,
        "The pool shrinks by one host when each remaining host would have fewer requests.",
    )
    time: int = number(180, 10, 86_400, "The seconds over which the master judges the load.")
    cooling: int = number(
        600, 0, 86_400, "The seconds without a new change after any change of the pool."
    )
    minimum: int | None = number(
        None, 1, 10_000, "The fewest hosts; null stands for the pool's own minimum."
    )
    maximum: int | None = number(
        None, 1, 10_000, "The most hosts; null stands for the pool's own maximum."
    )

    def rules(self) -> Iterator[tuple[str, str]]:
        """Between the two loads the pool stays as it is; it is never to be empty and full."""
        if self.below >= self.above:
            yield "below", invalid(self.below, f"less than above: {self.above}")
        if self.minimum and self.maximum and self.minimum > self.maximum:
            yield "minimum", invalid(self.minimum, f"at most maximum: {self.maximum}")

    def conflicts(
        self,
        topology: Topology,
        settings: Settings,
        definitions: Mapping[str, Mapping[str, Any]],
    ) -> Iterator[tuple[str, str]]:
        """The pool exists and can have so many hosts; a fleet that never scales needs none."""
        if self.enabled or self.pool != AutoscaleSettings.pool:
            yield from self.misfits(topology)

    def misfits(self, topology: Topology) -> Iterator[tuple[str, str]]:
        """Yield the keys that do not fit a topology: the key, and the message."""
        pools = {name: one for name, one in topology.pools.items() if "app" in one.roles}
        pool = pools.get(self.pool)
        if pool is None:
            yield "pool", not_among(self.pool, pools, "a pool of app hosts")
            return
        for name, value in (("minimum", self.minimum), ("maximum", self.maximum)):
            if value is not None and not pool.minimum <= value <= pool.maximum:
                yield name, invalid(value, f"a number from {pool.minimum} to {pool.maximum}")


COMPONENTS: Mapping[str, type[Tuning]] = {
    **{name: kind for role in ROLES.values() for name, kind in role.settings.items()},
    "autoscale": AutoscaleSettings,
    "drift": DriftSettings,
    "firewall": FirewallSettings,
    "logs": LogSettings,
    "ssh": SshSettings,
    "time": TimeSettings,
    "tls": TlsSettings,
    "updates": UpdateSettings,
}
"""The files of pillar/settings (without .yaml): those of the roles, and the whole fleet's."""


class Settings:
    """The settings of all components: `settings[StorageSettings].volume`."""

    def __init__(self, *parts: Tuning) -> None:
        """Take the parts that differ from their defaults."""
        self._parts = {kind: kind() for kind in COMPONENTS.values()} | {
            type(part): part for part in parts
        }

    def __getitem__(self, kind: type[T]) -> T:
        """Return one component's settings, by their class."""
        return cast(T, self._parts[kind])

    def __eq__(self, other: object) -> bool:
        """Return whether all components have the same settings."""
        return isinstance(other, Settings) and self._parts == other._parts

    def but(self, *parts: Tuning) -> Settings:
        """Return the same settings with these parts in place of their own."""
        return Settings(*(self._parts | {type(part): part for part in parts}).values())


OWN_FIREWALL = "../local/firewall.yaml"
"""The operator's own rules, from the folder of the settings; no update touches it."""


def load(folder: str | Path) -> Settings:
    """Return the settings in the folder's *.yaml, with the operator's own rules of the firewall.

    A folder that does not exist has none.

    Raises:
        SettingsError: with the faults of all files.
        DataError: the folder cannot be read.
    """
    contents: dict[str, object] = {}
    files, faults = document.files(folder)
    for file in files:
        if file.stem not in COMPONENTS:
            faults.append(_unknown(file.stem))
            continue
        try:
            contents[file.stem] = document.read(file)
        except DataError as error:
            faults += [f"{file.name}: {fault}" for fault in error.faults]
            contents[file.stem] = error.data
    own = _own_firewall(Path(folder).parent / "local" / "firewall.yaml", faults)
    try:
        settings = parse(contents, str(folder))
    except SettingsError as error:
        faults += error.faults
    if faults:
        raise SettingsError(str(folder), faults)
    return settings.but(settings[FirewallSettings].with_own(own))


def _own_firewall(file: Path, faults: list[str]) -> OwnFirewall:
    """Return the content of the operator's own file, and add its faults. It may be missing."""
    there = os.path.dirname(OWN_FIREWALL)
    try:
        files, lines = document.files(file.parent, file.stem)
    except DataError as error:
        faults += [f"{there}: {fault}" for fault in error.faults]
        return OwnFirewall()
    faults += [f"{there}/{line}" for line in lines]
    if not files:
        return OwnFirewall()
    before: Sequence[str] = ()
    try:
        content = document.read(file)
    except DataError as error:
        content, before = error.data, error.faults
    if content is None:
        faults += [f"{OWN_FIREWALL}: {fault}" for fault in before]
        return OwnFirewall()
    own, found = read(OwnFirewall, content, before)
    faults += [f"{OWN_FIREWALL}: {line}" for line in found.lines]
    return own


def parse(data: Mapping[str, object], source: str = "settings") -> Settings:
    """Return the settings that `data` gives.

    Args:
        data: component -> its file's content; None for a file that is empty.
        source: what the settings are called in messages.

    Raises:
        SettingsError: with every fault.
    """
    faults: list[str] = []
    parts: list[Tuning] = []
    for component, content in data.items():
        if component not in COMPONENTS:
            faults.append(_unknown(component))
        elif content is not None:
            part, found = read(COMPONENTS[component], content)
            lines = found.lines or [f"{key}: {message}" for key, message in part.rules()]
            faults += [f"{component}.yaml: {line}" for line in lines]
            parts.append(part)
    if faults:
        raise SettingsError(source, faults)
    return Settings(*parts)


def _unknown(component: str) -> str:
    return f"{component}.yaml: {unknown((f'{name}.yaml' for name in COMPONENTS), 'file')}"
