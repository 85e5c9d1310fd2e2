"""Break hosts on purpose, and repair them. A file lists the faults for `bin/lab status`."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial

from lab.machines import containers, network
from lab.machines.plan import Machine
from lab.paths import FAULTS
from lab.process import run


class Kind(StrEnum):
    """The ways to break a host."""

    LINK_DOWN = "link-down"  # all its network cables are unplugged
    FREEZE = "freeze"  # all its processes halt
    SLOW = "slow"  # it gets a fifth of one core, so a request takes five times as long
    KILL = "kill"  # a power cut
    STOP = "stop"  # an ordinary shutdown
    SERVICE_KILL = "service-kill"  # SIGKILL for one of its services


@dataclass(frozen=True)
class Fault:
    """An injected fault."""

    kind: Kind
    host: str
    service: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, self.service, self.host) if part)


def read() -> list[Fault]:
    """Return the injected faults that are not yet healed."""
    if not FAULTS.exists():
        return []
    return [
        Fault(Kind(one["kind"]), one["host"], one["service"])
        for one in json.loads(FAULTS.read_text())
    ]


def write(faults: Iterable[Fault]) -> None:
    """Replace the list of injected faults."""
    listed = [asdict(fault) for fault in faults]
    if listed:
        unfinished = FAULTS.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(listed))
        unfinished.rename(FAULTS)
    else:
        FAULTS.unlink(missing_ok=True)


def forget(names: Iterable[str]) -> None:
    """Remove the faults of hosts that were rebuilt or removed from the list."""
    gone, listed = set(names), read()
    left = [fault for fault in listed if fault.host not in gone]
    if left != listed:
        write(left)


def links(machine: Machine, up: bool) -> None:
    """Plug in or unplug all network cables of a host."""
    for interface in machine.interfaces:
        network.set_link(interface.pair, up)


def cut_power(machine: Machine) -> None:
    """Kill a host like a power cut: without its cables, its kernel cannot close connections."""
    links(machine, up=False)
    containers.stop(machine, kill=True)


def inject(kind: Kind, machines: Sequence[Machine], service: str = "") -> None:
    """Break several hosts in the same way at the same time, and record it.

    Args:
        kind: How to break them.
        machines: The hosts.
        service: The systemd unit, for SERVICE_KILL.
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
    containers.each(actions[kind], machines)


def unfreeze(machines: Iterable[Machine]) -> None:
    """Let the frozen ones of these hosts continue."""
    frozen = containers.frozen()
    for machine in machines:
        if machine.container in frozen:
            containers.freeze(machine, False)


def heal(machines: Iterable[Machine]) -> list[Fault]:
    """Undo all faults of these hosts, even faults that are not on the list.

    Frozen hosts continue, slow ones get their full speed, stopped ones and killed services start,
    and all cables are plugged in. Hosts that do not exist are skipped.

    Returns:
        The faults that were on the list.
    """
    existing = containers.existing()
    broken = {machine.name: machine for machine in machines if machine.container in existing}
    unfreeze(broken.values())
    running = containers.running()

    def plug_in(machine: Machine) -> None:
        if machine.container in running:
            links(machine, up=True)
            containers.throttle(machine, on=False)
        else:
            containers.start(machine)

    containers.each(plug_in, broken.values())
    healed = [fault for fault in read() if fault.host in broken]
    for fault in healed:
        if fault.kind is Kind.SERVICE_KILL:
            start = ["systemctl", "start", "--no-block", fault.service]
            run(containers.attach(broken[fault.host], start))
    forget(broken)
    return healed
