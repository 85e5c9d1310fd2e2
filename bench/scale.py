"""Measure how long it takes until new app hosts answer clients, and where the time goes.

A client sends requests all the time, so that a new host gets its first request as soon as it is in
the balancer. Afterwards the pool has its former size.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench import machine
from bench.repeat import in_turn, seconds, spread
from bench.restore import restoring
from bench.result import Result
from lab.commands import status
from lab.machines import topology_file
from salina.balancer import haproxy
from salina.common import wait
from tests import fleets
from tests.lab import lab
from tests.lab.traffic import Background

POOL = "app"
MANY = 5
ROUNDS = 3
ONE_BOUND, PROCESSOR_BOUND, MANY_BOUND, SHARE_BOUND = 30.0, 20.0, 2.0, 0.5
PATIENCE = 900  # seconds for a change
CLIENT = """
import http.client, ssl

tls = ssl._create_unverified_context()
while not stopped.wait(0.2):
    connection = http.client.HTTPSConnection(given["address"], timeout=30, context=tls)
    connection.request("GET", given["path"], headers={"Host": given["domain"]})
    say(status=connection.getresponse().status)
    connection.close()
"""
STATISTICS = "echo show stat | socat - UNIX-CONNECT:/run/haproxy/admin.sock"
Steps = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Growth:
    """The seconds until all new hosts had answered, in total and for each part of the work."""

    total: float
    provisioner: float
    apply: float
    application: float  # the application's part of `apply`
    components: Mapping[str, float]  # other components' parts of `apply`, on the slowest new host
    processor: float  # the most seconds of the processor that a new host has used by then

    @property
    def probe(self) -> float:
        """Return the rest of the time: locks, plans, health checks, and entering the balancer."""
        return self.total - self.provisioner - self.apply

    @property
    def share(self) -> float:
        """Return the share that was neither the provisioner's nor the application's."""
        return 1 - (self.provisioner + self.application) / self.total

    def __str__(self) -> str:
        return (
            f"{self.total:.0f} s: provisioner {self.provisioner:.0f} s, "
            f"apply {self.apply:.0f} s (of it the application {self.application:.0f} s), "
            f"probe {self.probe:.0f} s"
        )


def growth(steps: Steps, total: float, kind: str, processor: float) -> Growth:
    """Return how a growth's time is distributed.

    Args:
        steps: The state of each step of orch.scale.
        total: The seconds until the last new host's first answer.
        kind: The application's kind. Its states are those of salt/application and salt/KIND.
        processor: The most seconds of the processor that a new host has used.
    """
    took = {name: float(step["duration"]) / 1000 for name, step in steps.items()}
    apply = sum(took[name] for name in ("applied", "balancers follow"))
    hosts = [components(states) for states in steps["applied"]["changes"]["ret"].values()]
    slowest = max(hosts, key=lambda spent: sum(spent.values()))
    own = sum(slowest.pop(name, 0.0) for name in ("application", kind))
    return Growth(total, took["created"], apply, own, slowest, processor)


def components(states: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the seconds that a host spent in each component's states, the longest first."""
    spent: dict[str, float] = {}
    for state in states.values():
        name = state["__sls__"].split(".")[0]
        spent[name] = spent.get(name, 0.0) + float(state["duration"]) / 1000
    return dict(sorted(spent.items(), key=lambda entry: -entry[1]))


def orchestrated(count: int) -> tuple[Steps, str]:
    """Change the pool's size, and return the steps by name, and what failed."""
    request = json.dumps({"pool": POOL, "count": count})
    done = lab.salt_run("state.orchestrate", "orch.scale", f"pillar={request}")
    (steps,) = json.loads(done.stdout)["data"].values()
    failed = "" if done.returncode == 0 else done.stdout[-2000:] + done.stderr
    return {step["__id__"]: step for step in steps.values()}, failed


def sized(count: int) -> None:
    """Give the pool a size.

    Raises:
        AssertionError: The change failed.
    """
    _, failed = orchestrated(count)
    assert not failed, failed


def unchanged() -> None:
    """Ask for the pool's present size."""
    sized(len(fleets.topology().pools[POOL].initial))


def running() -> str:
    """Return the change that is running, or "" if there is none."""
    found = json.loads(lab.salt_run("fleet.status").stdout)["running"]
    return str(found["what"]) if found else ""


def unasked(hosts: Sequence[str]) -> str:
    """Return the hosts to which the balancer has sent no request yet, separated by spaces."""
    rows = haproxy.statistics(lab.shell("lb1", STATISTICS))
    asked = {row["svname"] for row in rows if int(row.get("stot", 0))}
    return " ".join(host for host in hosts if host not in asked)


def grown(more: int) -> Growth:
    """Let the pool grow, and shrink again.

    Args:
        more: The number of additional hosts.

    Raises:
        AssertionError: orch.scale or a client's request failed.
    """
    pool = fleets.topology().pools[POOL]
    before = len(pool.initial)
    unchanged()  # brings a pool of another size back first
    new = pool.ids()[before : before + more]
    topology = topology_file.read()
    name, application = next(iter(topology.applications.items()))
    asks = {
        "address": topology.service.address,
        "domain": application.domain,
        "path": status.definitions(topology)[application.definition]["health"]["path"],
    }

    def restore() -> None:
        wait.clear(running, PATIENCE, "the interrupted change to end")
        sized(before)

    with restoring(restore):
        with Background("c1", CLIENT, **asks) as client, ThreadPoolExecutor(1) as one:
            begun = time.perf_counter()
            change = one.submit(orchestrated, before + more)

            def obstacle() -> str:
                failed = change.result()[1] if change.done() else ""
                assert not failed, failed
                return unasked(new)

            wait.clear(obstacle, PATIENCE, f"{name} to be served by {new}")
            total = time.perf_counter() - begun
            processor = max(machine.processor(host) for host in new)
            steps, failed = change.result()
        assert not failed, failed
        refused = [line["status"] for line in client.lines() if line["status"] != 200]
        assert not refused, f"{asks['path']}: {refused}"
    kind = fleets.definition(application.definition)["kind"]
    return growth(steps, total, str(kind), processor)


def measure() -> Iterator[Result]:
    """Measure one new host, several at once, and a request that changes nothing."""
    one, many = grown(1), grown(MANY)
    answer = "from orch.scale to a new host's first answer"
    yield Result(answer, one.total, "s", ONE_BOUND, detail=str(one))
    spent = "the processor's time of the new host until then"
    yield Result(spent, one.processor, "s", PROCESSOR_BOUND, detail=f"of {MANY}: {many.processor}")
    yield Result(
        "the share of it that is neither the provisioner's nor the application's",
        one.share,
        "ratio",
        SHARE_BOUND,
        detail=", ".join(f"{name} {spent:.1f} s" for name, spent in one.components.items()),
    )
    yield Result(
        f"{MANY} hosts at once / one", many.total / one.total, "ratio", MANY_BOUND, detail=str(many)
    )
    sides = {
        "scale": lambda: seconds(unchanged),
        "ping": lambda: seconds(lambda: lab.salt("*", "test.ping")),
    }
    found = in_turn(sides, ROUNDS)
    yield Result(
        "orch.scale without a change / test.ping of the fleet",
        median(found["scale"]) / median(found["ping"]),
        "ratio",
        detail=f"{spread(found['scale'])} / {spread(found['ping'])}",
    )
