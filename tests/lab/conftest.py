"""One lab, one deployment, for all tests of this folder."""

import subprocess
from typing import NamedTuple

import pytest

from tests.lab import lab
from tests.lab.lab import LAB, Results
from tests.lab.tiers import SECRETS


class Bare(NamedTuple):
    """What the bare fleet answered, before and at its first deployment."""

    predicted: Results
    applied: Results


@pytest.fixture(scope="package", autouse=True)
def deployed() -> Bare | None:
    """The deployed lab. One that was deployed before is only converged; either stays.

    A new one is deployed by a bare `salt '*' state.apply`; `bin/lab up`, which follows, does it
    by orch.deploy and has nothing to change.
    """
    subprocess.run([LAB, "up", "--no-deploy"], check=True)
    bare = None
    if lab.execute("salt", "test", "-e", SECRETS).returncode:
        lab.lab("salt-run", "secrets.create")
        bare = Bare(lab.highstate(test=True), lab.highstate())
        lab.lab("salt-run", "fleet.ready")
    subprocess.run([LAB, "up"], check=True)
    return bare
