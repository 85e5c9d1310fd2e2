"""The code of a distribution runs without root (X10)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import lab

pytestmark = [pytest.mark.lab, pytest.mark.proof]

HOST = "s1"
PLACE = "/var/tmp/salina-test"
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


@pytest.mark.parametrize(
    ("host", "place"), [(HOST, "/opt/odoo/odoo-14.0"), ("bbdd1", "/opt/patroni")]
)
def test_x10_an_environment_belongs_to_root(host: str, place: str) -> None:
    """X10: Nobody but root can change an environment."""
    others = f"find {place} ! -type l \\( ! -user root -o -perm /6022 \\) -printf '%M %u %p\\n'"
    assert lab.shell(host, others) == ""
