"""Measure a backup, copies of 100,000 small files, and a restore of an application in its place.

GlusterFS takes minutes to create so many files. So they are on the own disk of the storage host
that copies users' files. The hosts' own program copies them to the same server, into a repository
of their own. A client requests the login page during the restore.
"""

import json
import re
from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple

from bench import client
from bench.repeat import seconds, spread
from bench.restore import restoring
from bench.result import Result
from bench.scale import running
from lab.commands.deploy import end, unit
from lab.machines import inventory, topology_file
from lab.machines.containers import attach
from lab.machines.plan import Machine
from lab.process import run
from salina.common import wait
from salina_fleet.model.backup import BackupSettings
from tests import fleets
from tests.lab import lab
from tests.lab.tiers import all_serve, leader

ROUNDS = 3
PATIENCE = 900  # seconds for the copies, and for an interrupted restore to end
BOUND = 30  # seconds for a copy of unchanged files
LABEL = re.compile(r"\d{8}-\d{6}F(_\d{8}-\d{6}D)?")
COUNT = 100_000
NAME = "bench"
UNIT = "salina-bench"
PLACE = "/var/tmp/salina-bench"
PASSWORD = "/etc/salina/files-repository/password"
PROGRAM = ("env", "PYTHONPATH=/usr/local/lib/salina-files", "python3", "-")
SCRIPT = """
import hashlib, json, os, sys, time

from salina.backup import files

name, place = sys.argv[1:3]
count, rounds = map(int, sys.argv[3:])
store = os.path.join(place, "files", "crm")
for number in range(256):
    os.makedirs(os.path.join(store, f"{number:02x}"))
for _ in range(count):
    content = os.urandom(200)
    digest = hashlib.sha1(content).hexdigest()
    with open(os.path.join(store, digest[:2], digest), "wb") as stream:
        stream.write(content)
files.CACHE = os.path.join(place, "cache")  # it is removed with the files
with open(files.CONFIGURATION) as stream:
    repository = files.Repository(json.load(stream), name)
took = []
for _ in range(1 + rounds):
    begun = time.perf_counter()
    repository.copy(name, os.path.dirname(store))
    took.append(time.perf_counter() - begun)
copies = repository.snapshots()
found = [len(copies), len(repository.entries(copies[-1], store))]
print(json.dumps({"took": took, "copies": found[0], "files": found[1]}))
"""


class Restore(NamedTuple):
    """A restore: its seconds, the size of the replaced database, and what the client saw."""

    took: float
    size: str
    answers: client.Answers


def back_up(host: str) -> None:
    """Make a backup of the database cluster as `backup.make` does, but copy no files.

    Args:
        host: The backup host.

    Raises:
        AssertionError: The backup failed.
    """
    label = lab.salt(host, "pgbackrest.back_up", "diff").get(host)
    assert LABEL.fullmatch(str(label)), f"{host}: {label}"


def copies(source: Machine, target: Machine) -> list[float]:
    """Return the seconds of the first copy of COUNT files, and of each copy without a change.

    Args:
        source: The storage host.
        target: The backup host.

    Raises:
        LabError: The files could not be created or copied.
        AssertionError: The copies do not have all files.
    """
    repository = f"{fleets.settings()[BackupSettings].files_repository}/{NAME}"
    init = ["restic", "init", "--quiet", "--no-cache", "--repository-version=2"]
    init += [f"--repo={repository}", f"--password-file={PASSWORD}"]
    program = [*PROGRAM, NAME, PLACE, str(COUNT), str(ROUNDS)]
    actions: tuple[Callable[[], object], ...] = (
        lambda: end(source, UNIT),
        lambda: remove(source, PLACE),
        lambda: remove(target, repository),
    )
    with restoring(*actions):
        for action in actions:  # the rest of a killed measurement
            action()
        run(attach(target, ["runuser", "-u", "restic", "--", *init]))
        command = attach(source, unit(UNIT, program))
        answer = json.loads(run(command, text=SCRIPT, timeout=PATIENCE).stdout)
    found = (answer["copies"], answer["files"])
    assert found == (1 + ROUNDS, COUNT), f"{found[0]} copies, the last one with {found[1]} files"
    return [float(took) for took in answer["took"]]


def remove(machine: Machine, folder: str) -> None:
    """Remove a folder of a host, if it exists."""
    run(attach(machine, ["rm", "--recursive", "--force", folder]))


def restored(application: str) -> Restore:
    """Restore an application in its place while a client requests its login page.

    Args:
        application: The first application.

    Raises:
        AssertionError: orch.restore failed.
    """
    before = set(kept())
    with restoring(lambda: settle(before)):
        with client.watching() as answers:
            took = seconds(lambda: orchestrate("restore", application))
        sizes = [size for name, size in kept().items() if name not in before]
    return Restore(took, ", ".join(sizes), answers)


def orchestrate(name: str, application: str) -> None:
    """Run an orchestration that changes an application, with its confirmation.

    Args:
        name: `restore`, `upgrade` or `rollback`.
        application: The application.

    Raises:
        AssertionError: It failed.
    """
    request = json.dumps({"application": application, "confirm": application})
    done = lab.salt_run("state.orchestrate", f"orch.{name}", f"pillar={request}")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def kept() -> dict[str, str]:
    """Return the databases that restores have made or kept, and the size of each."""
    done = lab.salt_run("backup.kept")
    assert done.returncode == 0, done.stdout + done.stderr
    return {one["name"]: one["size"] for one in json.loads(done.stdout)}


def unsettled() -> str:
    """Return which part of an interrupted orchestration is still running, or ""."""
    if change := running():
        return change
    primary = leader()
    if jobs := lab.salt(primary, "saltutil.is_running", "database_copy.*").get(primary, "silent"):
        return f"{primary}: {jobs}"
    return "" if all_serve() else "an app host does not have its whole share of the requests"


def settle(before: set[str]) -> None:
    """Wait until an orchestration is over and all app hosts serve, and discard what it replaced.

    Salt's job on the primary goes on after an interruption, and an application that was stopped
    starts again by itself. While an app host does not serve, nothing is discarded.

    Args:
        before: The databases to keep.

    Raises:
        TimeoutError: The orchestration does not end, or an app host does not serve.
        AssertionError: A database could not be discarded.
    """
    wait.clear(unsettled, PATIENCE, "the end of the orchestration")
    primary = leader()
    fault = lab.salt(primary, "database_copy.clean").get(primary, "no answer")
    assert not fault, f"{primary}: {fault}"
    for name in kept():
        if name not in before:
            done = lab.salt_run("backup.discard", name, f"confirm={name}")
            assert done.returncode == 0, done.stdout + done.stderr


def measure() -> Iterator[Result]:
    """Measure backups, copies of files and a restore, if the fleet has storage and a backup host.

    The backups stay in the repository until they are too old, like any other.
    """
    machines = inventory.current_plan().machines
    source, target = (
        next((machine for machine in machines if role in machine.roles), None)
        for role in ("storage", "backup")
    )
    if source is None or target is None:
        return
    backups = [seconds(lambda: back_up(target.name)) for _ in range(ROUNDS)]
    yield Result(
        "a backup of the database cluster (diff), without files",
        median(backups),
        "s",
        detail=spread(backups),
    )
    first, *unchanged = copies(source, target)
    yield Result(f"the first copy of {COUNT:,} small files", first, "s", detail="200 bytes each")
    yield Result(
        f"a copy of {COUNT:,} unchanged files",
        median(unchanged),
        "s",
        BOUND,
        detail=spread(unchanged),
    )
    yield Result(
        "copy of unchanged files / first copy",
        median(unchanged) / first,
        "ratio",
        detail=f"{median(unchanged):.1f} s / {first:.1f} s",
    )
    name = topology_file.read().default.name
    found = restored(name)
    yield Result(
        f"orch.restore of {name} in its place",
        found.took,
        "s",
        detail=f"a database of {found.size}",
    )
    yield Result(
        "the longest time without the login page meanwhile",
        client.outage(found.answers),
        "s",
        detail=client.failed(found.answers),
    )
