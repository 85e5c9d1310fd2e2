"""What all tests share: where the repository is, and its Python as Salt imports it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent

# Salt puts `_utils` on the path while it loads modules; the directories of modules are namespaces
# of their own there, and tests load those by path.
sys.path.insert(0, str(REPOSITORY / "_utils"))
sys.path.insert(0, str(REPOSITORY))


settings.register_profile("salina", deadline=None)  # a busy machine is no fault
settings.load_profile("salina")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this repository."""
    return REPOSITORY
