"""Compare requests through firewall and balancer with requests straight to the app hosts' nginx.

Both sides use the same client: h2load on this machine, with one process for each app host, and
HTTP/1.1 on connections that stay open. It runs in a host's network namespace. For requests through
the firewall, which use TLS twice, that is a client's. For straight requests it is the app host's,
because nginx speaks TLS with the balancers only, and without TLS on loopback only.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from bench.repeat import in_turn, percentile, spread
from bench.restore import restoring
from bench.result import Result
from lab.commands import preflight
from lab.errors import LabError
from lab.machines import containers, inventory, topology_file
from lab.machines.containers import attach
from lab.machines.plan import Machine
from lab.process import run
from salina_fleet.role import LOOPBACK
from salina_fleet.roles import app
from tests.lab import limits

PACKAGE = "nghttp2-client"
LOGIN = "/web/login"
STATIC = re.compile(r'"(/web/static/[^"]+)"')
BOUND = 0.9
ROUNDS = 5
CONNECTIONS = 4  # for each process
SECONDS = 6  # a measurement takes about as long at most
# Requests on one connection: nginx closes it after 1,000 (keepalive_requests), which ends h2load.
KEPT = 900
WARM_UP, CALIBRATION = 60, 30  # requests to each app host
MODERATE = 0.25  # latency is measured at this share of the throughput


@dataclass(frozen=True)
class Requests:
    """The start and the duration of each request, in microseconds."""

    begun: tuple[int, ...]
    taken: tuple[int, ...]

    @property
    def rate(self) -> float:
        """Return the answers per second, from the first start to the last end."""
        ends = (start + taken for start, taken in zip(self.begun, self.taken, strict=True))
        return len(self.begun) / (max(ends) - min(self.begun)) * 1e6


def parse(lines: Iterable[str]) -> Requests:
    """Return the requests in h2load's log.

    Args:
        lines: Lines with start, status and duration.

    Raises:
        LabError: There was no answer, or an answer with another status than 200.
    """
    rows = [[int(word) for word in line.split("\t")[:3]] for line in lines]
    if not rows:
        raise LabError("h2load got no answer at all", "bin/lab status")
    wrong = [status for _, status, _ in rows if status != 200]
    if wrong:
        statuses = sorted(set(wrong))
        raise LabError(
            f"{len(wrong)} of {len(rows)} answers have a status other than 200: {statuses}",
            "bin/lab status",
        )
    return Requests(tuple(row[0] for row in rows), tuple(row[2] for row in rows))


@dataclass(frozen=True)
class Way:
    """A way to the service: to one or more addresses, each from a host."""

    scheme: str
    domain: str
    targets: tuple[tuple[Machine, str], ...]
    headers: tuple[str, ...]

    def with_header(self, header: str) -> "Way":
        """Return the same way with an additional header in its requests."""
        return replace(self, headers=(*self.headers, header))

    def load(self, path: str, requests: int, rate: int | None = None) -> Requests:
        """Request a path repeatedly, from all targets at the same time.

        Args:
            path: The path.
            requests: The number of requests for each target.
            rate: Requests per second for each target, on one connection. Without a rate, several
                connections send requests as fast as answers come.

        Raises:
            LabError: An answer was missing or had another status than 200.
        """
        command = ["h2load", "--h1", f"--requests={requests}"]
        command += ["--clients=1", f"--rps={rate}"] if rate else [f"--clients={CONNECTIONS}"]
        command += [f"--header={header}" for header in self.headers]
        with tempfile.TemporaryDirectory(prefix="salina-bench-") as place:
            logs = [Path(place) / str(number) for number, _ in enumerate(self.targets)]
            url = f"{self.scheme}://{self.domain}{path}"
            running = [
                subprocess.Popen(
                    [
                        *("nsenter", f"--net={containers.namespace(origin)}", *command),
                        *(f"--connect-to={target}", f"--log-file={log}", url),
                    ],
                    stdout=subprocess.DEVNULL,
                )
                for (origin, target), log in zip(self.targets, logs, strict=True)
            ]
            if any([process.wait() for process in running]):
                raise LabError("h2load failed; its message is above", "bin/lab status")
            lines = [line for log in logs for line in log.read_text().splitlines()]
        found = parse(lines)
        if len(found.taken) != requests * len(self.targets):
            raise LabError(
                f"only {len(found.taken)} of {requests * len(self.targets)} requests were answered",
                "bin/lab status",
            )
        return found


def ways() -> dict[str, Way]:
    """Return two ways to the first application: through firewall and balancer, and straight."""
    wanted, topology = inventory.current_plan(), topology_file.read()
    service, application = topology.service, topology.default
    hosts = [
        host
        for host in topology.fleet(inventory.active_members(topology))
        if host.application == application.name
    ]
    port = service.https if service.tls else service.http
    scheme = "https" if service.tls else "http"
    headers = ("accept-encoding: gzip",)
    client = wanted.caller(service.address)
    through = Way(
        scheme,
        application.domain,
        ((client, f"{service.address}:{port}"),) * len(hosts),
        headers,
    )
    straight = Way(
        "http",
        application.domain,
        tuple((wanted.machine(host.id), f"{LOOPBACK}:{app.LOCAL_PORT}") for host in hosts),
        headers,
    )
    return {"through": through, "straight": straight}


def page(way: Way) -> tuple[str, str]:
    """Return the login page's session cookie and the path of one of its static files.

    Raises:
        LabError: The page has none of them.
    """
    url = f"{way.scheme}://{way.domain}{LOGIN}"
    curl = ["curl", "--silent", "--insecure", "--include", "--fail", "--max-time", "60"]
    origin, target = way.targets[0]
    curl += ["--connect-to", f"::{target}", url]
    text = run(attach(origin, curl)).stdout
    session = re.search(r"(?im)^set-cookie: (session_id=[^;]+)", text)
    static = STATIC.search(text)
    if not session or not static:
        raise LabError(f"{url} sets no session cookie or has no static file", "bin/lab status")
    return session[1], static[1]


def measure() -> Iterator[Result]:
    """Measure throughput and latency of the login page, and of one of its static files."""
    if not shutil.which("h2load"):
        preflight.install([PACKAGE])
    sides = ways()
    session, static = page(sides["through"])
    sides = {name: way.with_header(f"cookie: {session}") for name, way in sides.items()}
    with restoring(lambda: limits.exempt(False)):
        limits.exempt(True)  # one client sends more than the balancer allows an address
        for path in (LOGIN, static):
            yield from compare(path, sides)


def compare(path: str, sides: Mapping[str, Way]) -> Iterator[Result]:
    """Measure one path: the throughput, and then the latency at a moderate rate."""
    targets = len(sides["straight"].targets)
    for way in sides.values():
        way.load(path, WARM_UP)  # each of the application's workers first loads its models
    rate = min(way.load(path, CALIBRATION).rate for way in sides.values()) / targets
    full = {
        name: partial(
            way.load, path, min(max(CALIBRATION, int(rate * SECONDS)), KEPT * CONNECTIONS)
        )
        for name, way in sides.items()
    }
    found = in_turn(full, ROUNDS)
    through, straight = ([one.rate for one in found[name]] for name in ("through", "straight"))
    yield Result(
        f"requests/s through firewall and balancer / straight, {path}",
        median(through) / median(straight),
        "ratio",
        BOUND,
        least=True,
        detail=f"{spread(through, '/s', 0)} / {spread(straight, '/s', 0)}",
    )
    moderate = max(1, int(median(through) / targets * MODERATE))
    requests = min(moderate * SECONDS, KEPT)
    less = {name: partial(way.load, path, requests, moderate) for name, way in sides.items()}
    taken = {
        name: [time for one in runs for time in one.taken]
        for name, runs in in_turn(less, ROUNDS).items()
    }
    for what, percent in (("median", 50), ("99th percentile", 99)):
        one, other = (percentile(taken[name], percent) / 1000 for name in ("through", "straight"))
        yield Result(
            f"latency added by firewall and balancer, {path}, {what}",
            one - other,
            "ms",
            detail=f"{one:.2f} ms / {other:.2f} ms at {moderate * targets} requests/s",
        )
