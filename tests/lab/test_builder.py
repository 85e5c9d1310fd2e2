"""The code of a distribution runs without root, and only if its hash is right (X10)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.paths import LOCKS
from salina.common import locks
from tests.lab import lab

pytestmark = [pytest.mark.lab, pytest.mark.proof]

HOST = "s1"
PLACE = "/var/tmp/salina-test"
ENVIRONMENT = "/opt/odoo/production/.venv"
SETUP = """
import os, sys
can = os.access('/etc/odoo/environment', os.R_OK)
sys.exit(f"built by {os.getuid()}; reads the secrets: {can}")
"""


@pytest.fixture
def hostile() -> Iterator[None]:
    """A distribution whose build says what it may do."""
    lab.run(HOST, "mkdir", "--parents", f"{PLACE}/hostile")
    lab.run(HOST, "tee", f"{PLACE}/hostile/setup.py", given=SETUP)
    lab.run(HOST, "tee", f"{PLACE}/requirements.txt", given=f"{PLACE}/hostile\n")
    yield
    lab.run(HOST, "rm", "--recursive", PLACE)


@pytest.mark.parametrize("interpreter", ["python3", "python3.9"])
def test_x10_a_build_is_not_root_and_reads_no_secret(hostile: None, interpreter: str) -> None:
    """X10, K4: With the minion's pip, and with the pip of an older interpreter."""
    asked = [f"{PLACE}/env", f"interpreter={interpreter}", f"requirements={PLACE}/requirements.txt"]
    answer = lab.salt(HOST, "state.single", "python_environment.installed", *asked, "lock=False")
    [found] = lab.results(answer)[HOST].values()
    uid = lab.run(HOST, "id", "--user", "salina-build").strip()
    assert found["result"] is False
    assert f"built by {uid}; reads the secrets: False" in found["comment"]


@pytest.mark.parametrize(("host", "place"), [(HOST, ENVIRONMENT), ("bbdd1", "/opt/patroni")])
def test_x10_an_environment_belongs_to_root(host: str, place: str) -> None:
    """X10: Nobody but root can change an environment."""
    others = f"find {place} ! -type l \\( ! -user root -o -perm /6022 \\) -printf '%M %u %p\\n'"
    assert lab.shell(host, others) == ""


ENTRIES = locks.entries((LOCKS / "odoo-14.0.txt").read_text())
TOOLS = (LOCKS / "odoo-14.0.build.txt").read_text()


@pytest.fixture
def environment() -> Iterator[Callable[..., dict[str, Any]]]:
    """A function that installs a wheel and a source archive with hashes of the test's choice."""

    def install(interpreter: str, **hashes: str) -> dict[str, Any]:
        wanted = {
            entry: [hashes[name]] if name in hashes else found
            for entry, found in ENTRIES.items()
            if (name := entry.partition("==")[0]) in ("six", "docopt")
        }
        lab.run(HOST, "mkdir", "--parents", PLACE)
        lab.run(HOST, "tee", f"{PLACE}/crm.txt", given=locks.text_of(wanted, ["docopt"]))
        lab.run(HOST, "tee", f"{PLACE}/crm.build.txt", given=TOOLS)
        asked = [f"{PLACE}/env", f"interpreter={interpreter}", f"requirements={PLACE}/crm.txt"]
        answer = lab.salt(HOST, "state.single", "python_environment.installed", *asked)
        [found] = lab.results(answer)[HOST].values()
        return dict(found)

    yield install
    lab.run(HOST, "rm", "--recursive", PLACE)


@pytest.mark.parametrize("interpreter", ["python3", "python3.9"])
def test_x10_a_file_with_another_hash_is_refused(
    environment: Callable[..., dict[str, Any]], interpreter: str
) -> None:
    """X10: A wheel and a source archive, with both kinds of pip; the environment stays."""
    assert environment(interpreter)["result"] is True
    imported = f"{PLACE}/env/bin/python -c 'import six, docopt; print(six.__file__)'"
    assert lab.shell(HOST, imported).startswith(PLACE)
    files = f"find {PLACE}/env -printf '%p %T@ %i\\n' | sort"
    before = lab.shell(HOST, files)
    for name in ("six", "docopt"):
        found = environment(interpreter, **{name: "0" * 64})
        assert found["result"] is False
        assert "DO NOT MATCH THE HASHES" in found["comment"] or "No matching" in found["comment"]
    assert lab.shell(HOST, files) == before


def test_x10_the_environments_of_the_fleet_are_verified() -> None:
    """X10: What a service runs was built from the lock with hashes of this repository."""
    for host, place, name in (
        (HOST, ENVIRONMENT, "odoo-14.0"),
        ("bbdd1", "/opt/patroni", "patroni"),
    ):
        record = json.loads(lab.run(host, "cat", f"{place}/salina.json"))
        assert record["requirements"] == (LOCKS / f"{name}.txt").read_text().splitlines()
