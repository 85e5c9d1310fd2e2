"""One lab, one deployment, for all tests of this folder."""

import os
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

    A new one is deployed by a bare `salt '*' state.apply`. `make test` says that it has just
    converged the lab.
    """
    if "CONVERGED" in os.environ:
        return None
    lab.up("--no-deploy")
    if lab.execute("salt", "test", "-e", SECRETS).returncode:
        lab.lab("salt-run", "secrets.create")
        bare = Bare(lab.highstate(test=True), lab.highstate())
        lab.lab("salt-run", "fleet.ready")
        return bare
    lab.up()
    return None
