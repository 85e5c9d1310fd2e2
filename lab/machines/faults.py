"""Faults on purpose, and their end. What is broken is noted, so that `status` can tell."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial

from lab.machines import containers, network
from lab.machines import hosts as fleet
from lab.machines.plan import Machine
from lab.paths import FAULTS
from lab.process import run


class Kind(StrEnum):
    """What can be done to a host."""

    LINK_DOWN = "link-down"  # all its cables out
    FREEZE = "freeze"  # its processes halt where they are
    SLOW = "slow"  # a fifth of one core: a request takes five times as long
    KILL = "kill"  # a power cut
    STOP = "stop"  # shut down in order
    SERVICE_KILL = "service-kill"  # SIGKILL to one of its services


@dataclass(frozen=True)
class Fault:
    """A fault that was injected."""

    kind: Kind
    host: str
    service: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, self.service, self.host) if part)


def read() -> list[Fault]:
    """Return the faults that were injected and not yet healed."""
    if not FAULTS.exists():
        return []
    return [
        Fault(Kind(one["kind"]), one["host"], one["service"])
        for one in json.loads(FAULTS.read_text())
    ]


def write(faults: Iterable[Fault]) -> None:
    """Note the injected faults."""
    noted = [asdict(fault) for fault in faults]
    if noted:
        unfinished = FAULTS.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(noted))
        unfinished.rename(FAULTS)
    else:
        FAULTS.unlink(missing_ok=True)


def forget(hosts: Iterable[str]) -> None:
    """Drop the notes about hosts, which were made anew or removed."""
    gone, noted = set(hosts), read()
    left = [fault for fault in noted if fault.host not in gone]
    if left != noted:
        write(left)


def links(machine: Machine, up: bool) -> None:
    """Plug all cables of a host in or out."""
    for interface in machine.interfaces:
        network.set_link(interface.pair, up)


def cut_power(machine: Machine) -> None:
    """End a host at once. Its cables first: a dead host's kernel closes no connections."""
    links(machine, up=False)
    containers.stop(machine, kill=True)


def inject(kind: Kind, machines: Sequence[Machine], service: str = "") -> None:
    """Break hosts in one way, all at the same time, and note it.

    :param service: name of the unit, for SERVICE_KILL
    """
    kill_unit = ["systemctl", "kill", "--signal=KILL", service]
    actions: dict[Kind, Callable[[Machine], object]] = {
        Kind.LINK_DOWN: partial(links, up=False),
        Kind.FREEZE: partial(containers.freeze, on=True),
        Kind.SLOW: partial(containers.throttle, on=True),
        Kind.KILL: cut_power,
        Kind.STOP: containers.stop,
        Kind.SERVICE_KILL: lambda machine: run(containers.attach(machine, kill_unit)),
    }
    write([*read(), *(Fault(kind, machine.name, service) for machine in machines)])
    fleet.each(actions[kind], machines)


def unfreeze(machines: Iterable[Machine]) -> None:
    """Let those of the hosts that are frozen go on."""
    frozen = containers.frozen()
    for machine in machines:
        if machine.container in frozen:
            containers.freeze(machine, False)


def heal(machines: Iterable[Machine]) -> list[Fault]:
    """End all faults of these hosts, also those that nobody noted; return the noted ones.

    Frozen hosts go on, slow ones are quick, stopped ones start, cables are plugged in, killed
    services start.
    """
    there = containers.existing()
    broken = {machine.name: machine for machine in machines if machine.container in there}
    unfreeze(broken.values())
    running = containers.running()

    def plug_in(machine: Machine) -> None:
        if machine.container in running:
            links(machine, up=True)
            containers.throttle(machine, on=False)
        else:
            containers.start(machine)

    fleet.each(plug_in, broken.values())
    noted = [fault for fault in read() if fault.host in broken]
    for fault in noted:
        if fault.kind is Kind.SERVICE_KILL:
            start = ["systemctl", "start", "--no-block", fault.service]
            run(containers.attach(broken[fault.host], start))
    forget(broken)
    return noted
