"""One lab, one deployment, for all tests of this folder."""

import json
import os
import uuid
from typing import Any, NamedTuple

import pytest

from tests.lab import lab
from tests.lab.browser import BROWSER, URL
from tests.lab.lab import Results, run
from tests.lab.tiers import SECRETS, secret


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


@pytest.fixture
def ca() -> str:
    """The certificate of the project's CA."""
    return run("s1", "cat", "/etc/salina/tls/ca.crt")


@pytest.fixture
def password() -> str:
    """The password of the user admin."""
    return secret("app-crm-login")


@pytest.fixture
def mark() -> str:
    """Stands in the requests of one test, to find them in the logs."""
    return f"mark={uuid.uuid4().hex}"


@pytest.fixture
def client(ca: str, password: str, mark: str) -> Any:
    """Run a script on c1 and return the JSON that it prints."""

    def on_c1(script: str) -> Any:
        given = json.dumps({"ca": ca, "password": password, "url": URL, "mark": mark})
        whole = BROWSER.replace("GIVEN", repr(given)) + script
        return json.loads(run("c1", "python3", "-", given=whole))

    return on_c1
