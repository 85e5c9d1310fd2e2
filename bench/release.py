"""Measure a release: to all app hosts and back, while a client requests the login page.

The new release has the same files as the present one and another commit. The way back needs no
build, because every host still has the former release.
"""

from collections.abc import Iterator

from bench import client
from bench.repeat import seconds
from bench.restore import restoring
from bench.result import Result
from lab.machines import topology_file
from tests import fleets
from tests.lab import lab, upstream


def apply(hosts: str) -> None:
    """Apply the states of hosts.

    Raises:
        AssertionError: A state failed.
    """
    failed = lab.failures(lab.results(lab.salt("-L", hosts, "state.apply")))
    assert not failed, failed


def measure() -> Iterator[Result]:
    """Measure a release and the way back, if the lab's applications are those of its mirror."""
    topology = topology_file.read()
    if upstream.NAME not in {one.definition for one in topology.applications.values()}:
        return
    name = topology.default.name
    hosts = ",".join(host.id for host in fleets.fleet().serving(name))
    with restoring(lambda: apply(hosts)):
        with upstream.moved(), client.watching() as answers:
            upstream.resolve()
            there = seconds(lambda: apply(hosts))
        with client.watching() as later:
            back = seconds(lambda: apply(hosts))
    yield Result(f"a release of {name} on all app hosts, with its build", there, "s")
    yield Result(f"the way back to the former release of {name}", back, "s")
    for answered, what in ((answers, "release"), (later, "way back")):
        yield Result(
            f"the longest time without the login page during the {what}",
            client.outage(answered),
            "s",
            detail=client.failed(answered),
        )
