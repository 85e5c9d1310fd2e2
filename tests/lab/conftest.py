"""One lab, one deployment, for all tests of this folder."""

from typing import NamedTuple

import pytest

from tests.lab import lab
from tests.lab.lab import Results
from tests.lab.tiers import SECRETS


class Bare(NamedTuple):
    """The answers of the bare fleet, before and at its first deployment."""

    predicted: Results
    applied: Results


@pytest.fixture(scope="package", autouse=True)
def deployed() -> Bare | None:
    """The deployed lab. One that was deployed before is only converged; either stays.

    A new one is deployed by a bare `salt '*' state.apply`; `bin/lab up`, which follows, does it
    by orch.deploy and has nothing to change.
    """
    lab.up("--no-deploy")
    bare = None
    if lab.execute("salt", "test", "-e", SECRETS).returncode:
        lab.lab("salt-run", "secrets.create")
        bare = Bare(lab.highstate(test=True), lab.highstate())
        lab.lab("salt-run", "fleet.ready")
    lab.up()
    return bare
