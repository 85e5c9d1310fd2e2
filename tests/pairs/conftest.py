"""One deployment for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.lab import lab


@pytest.fixture(scope="package", autouse=True)
def deployed() -> Iterator[None]:
    """The lab with this topology."""
    with lab.another("pairs"):
        yield
