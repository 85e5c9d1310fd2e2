"""Tell a full commit from the other names of a revision."""

from __future__ import annotations

import re

FULL = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def is_full(revision: str) -> bool:
    """Tell whether a revision is a full commit, which stands for the same code for ever.

    Args:
        revision: a branch, tag or commit.
    """
    return bool(FULL.fullmatch(revision))
