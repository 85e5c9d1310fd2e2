"""promtool for tests: this machine's, or the one that the monitoring host installs."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.packaged import POOL


@cache
def promtool() -> Path | None:
    """The command; None where there is neither, since the lab's mirror was not made yet."""
    own = shutil.which("promtool", path="/usr/bin")
    if own:
        return Path(own)
    found = [*POOL.glob("prometheus_*.deb")]
    if not found:
        return None
    home = Path(tempfile.mkdtemp(prefix="salina-prometheus-"))
    atexit.register(shutil.rmtree, home)
    subprocess.run(["dpkg-deb", "--extract", found[0], home], check=True)
    return home / "usr/bin/promtool"
