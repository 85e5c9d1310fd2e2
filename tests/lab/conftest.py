"""One lab, one deployment, for all tests of this folder."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

LAB = Path(__file__).parents[2] / "bin" / "lab"


@pytest.fixture(scope="session", autouse=True)
def deployed() -> Iterator[None]:
    """The deployed lab; it stays if it was there before, except in CI."""
    asked = [LAB, "exec", "salt", "--", "true"]
    before = subprocess.run(asked, capture_output=True).returncode == 0
    subprocess.run([LAB, "up"], check=True)
    yield
    if os.environ.get("CI") or not before:
        subprocess.run([LAB, "down"], check=True)
