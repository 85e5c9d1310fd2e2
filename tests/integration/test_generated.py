"""Whatever the check accepts, every host can render, and every daemon takes.

`make test` tries a hundred inputs, always the same ones. `make proof` tries thousands, others in
each run; SEED=NUMBER repeats a run. tests/generated makes the inputs out of the schema, and judges
the files of every host.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, reject, seed, settings

from salina_fleet.site import SiteError
from tests.generated import judges, written
from tests.generated.written import Input

FEW = 100
PARTS = 30
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
MANY = {
    "database": None,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": False,
}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that daemons without rights can enter."""
    found = Path(tempfile.mkdtemp(prefix="salina-generated-", dir="/var/tmp"))
    found.chmod(0o755)
    yield found
    shutil.rmtree(found)


def judge(one: Input, place: Path) -> None:
    """Assert that an input is refused with readable lines, or that every host's daemons take it."""
    note(one.text())
    try:
        found = written.read(one, place)
    except SiteError as error:
        assert all(": " in line and "\n" not in line for line in error.faults), error.faults
        reject()
    for minion in written.minions(found):
        assert minion.chunks
        faults = judges.faults(minion, place / "judged")
        assert not faults, f"SEED={SEED} {minion.opts['id']}: " + "\n".join(faults)


@settings(max_examples=FEW, derandomize=True, **MANY)  # type: ignore[arg-type]
@given(one=written.inputs())
def test_what_the_check_accepts_every_daemon_takes(place: Path, one: Input) -> None:
    """K5: A hundred topologies with settings and definitions; each host renders all of its states
    and files, and HAProxy, nginx, pgbouncer, etcd, PostgreSQL and ufw accept them.
    """
    judge(one, place)


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_of_thousands_every_daemon_takes_what_the_check_accepts(place: Path, part: int) -> None:
    """K5: The same for a hundred others in each part."""

    @seed(SEED + part)
    @settings(max_examples=FEW, **MANY)  # type: ignore[arg-type]
    @given(one=written.inputs())
    def tried(one: Input) -> None:
        judge(one, place)

    print(f"SEED={SEED}")
    tried()
