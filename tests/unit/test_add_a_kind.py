"""The example of docs/guides/add-an-application-kind.md is complete: its definition is read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests import guide
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs/guides/add-an-application-kind.md"
ASK = """
import json, sys
from salina_fleet.model import definition
print(json.dumps(definition.load(sys.argv[1]).to_dict()))
"""


def test_the_example(tmp_path: Path) -> None:
    """The kind's file and a definition are enough for the master to know the kind."""
    root = guide.copy(tmp_path)
    assert guide.follow(PAGE, root) == ["fleet/salina_fleet/kinds/go.py", "pillar/app/go-crm.yaml"]
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(root / "pillar/app/go-crm.yaml")],
        env={"PYTHONPATH": f"{root}/fleet:{root}/_utils"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert (read["kind"], read["port"]) == ("go", 8080)
    assert read["go"] == {"package": "./cmd/crm", "environment": {"LOG_LEVEL": "info"}}
