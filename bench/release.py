"""Measure a release: to all app hosts and back, while a client requests the login page.

One release has the same files as the present one and another commit. An apply brings it, and the
way back needs no build, because every host still has the former release. Another one has a changed
module, whose table needs a further column. orch.upgrade brings it, and orch.rollback takes it back.
"""

from collections.abc import Callable, Iterator
from functools import partial

from bench import backup, client
from bench.repeat import seconds
from bench.restore import restoring
from bench.result import Result
from lab.machines import topology_file
from salina.common import wait
from tests import fleets
from tests.lab import lab, tiers, upstream


def apply(hosts: str) -> None:
    """Apply the states of hosts.

    Raises:
        AssertionError: A state failed.
    """
    failed = lab.failures(lab.results(lab.salt("-L", hosts, "state.apply")))
    assert not failed, failed


def measure() -> Iterator[Result]:
    """Measure both releases and their ways back, if the lab's applications are those of its mirror.

    Raises:
        AssertionError: An apply or an orchestration failed.
    """
    topology = topology_file.read()
    if upstream.NAME not in {one.definition for one in topology.applications.values()}:
        return
    name = topology.default.name
    hosts = ",".join(host.id for host in fleets.fleet().serving(name))
    for release in (without_changes, with_a_changed_module):
        with restoring(lambda: apply(hosts)):
            found = release(name, lambda: apply(hosts))
        yield from found


def without_changes(name: str, applied: Callable[[], None]) -> list[Result]:
    """Measure a release without changes, and the way back.

    Args:
        name: The application.
        applied: Applies the states of its hosts.
    """
    with upstream.moved():
        upstream.resolve()
        there = during("release", f"a release of {name} on all app hosts, with its build", applied)
    what = f"the way back to the former release of {name}"
    return [*there, *during("way back", what, applied)]


def with_a_changed_module(name: str, applied: Callable[[], None]) -> list[Result]:
    """Measure a release whose database must change, and the way back.

    Args:
        name: The application.
        applied: Applies the states of its hosts.
    """
    kept = set(backup.kept())
    with upstream.moved(texts=upstream.with_column()), restoring(lambda: go_back(name, kept)):
        upstream.resolve()
        applied()  # it builds the release, which waits for its upgrade
        found: list[Result] = []
        for command, what in (
            ("upgrade", f"orch.upgrade of {name} to a release with a changed module"),
            ("rollback", f"orch.rollback of {name} to the former release and its database"),
        ):
            ran = partial(backup.orchestrate, command, name)
            found += during(f"orch.{command}", what, ran)
    return found


def during(name: str, what: str, action: Callable[[], None]) -> tuple[Result, Result]:
    """Run an action while a client requests the login page; return its time and the outage.

    Args:
        name: The action, in a word or two.
        what: The action, in full.
        action: The action.
    """
    with client.watching() as answers:
        took = seconds(action)
    outage = f"the longest time without the login page during the {name}"
    return (
        Result(what, took, "s"),
        Result(outage, client.outage(answers), "s", detail=client.failed(answers)),
    )


def go_back(name: str, kept: set[str]) -> None:
    """Have the former release and its database again, whatever has ended the measurement.

    Args:
        name: The application.
        kept: The databases that were kept before.
    """
    wait.clear(backup.unsettled, backup.PATIENCE, "the end of the orchestration")
    if tiers.sql(tiers.leader(), upstream.COLUMN, name) == "1":
        backup.orchestrate("rollback", name)
    backup.settle(kept)
