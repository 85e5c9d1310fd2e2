"""The applications' upstream repositories in the lab's mirror, whose branches a test moves."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from lab.paths import MIRROR
from tests import fleets
from tests.lab import lab

NAME = "odoo-14.0"
"""The definition of the application, unless a test names another one."""
WHO = ("-c", "user.name=test", "-c", "user.email=test@example.org")
NOTHING: Mapping[str, str] = MappingProxyType({})
LEAD = "addons/crm/models/crm_lead.py"
FIELD = "    phone = fields.Char("
COLUMN = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'x_salina'"
"""1 in a database that belongs to a release of `with_column`, otherwise 0."""


def git(*arguments: str, name: str = NAME, given: str = "", index: str = "") -> str:
    """Run git in the upstream repository, which all hosts see, and return its output.

    `given`: its input. `index`: the file of another index.
    """
    argv = ["git", *WHO, f"--git-dir={MIRROR}/git/{name}.git", *arguments]
    env = {**os.environ, **({"GIT_INDEX_FILE": index} if index else {})}
    done = subprocess.run(argv, check=True, input=given, capture_output=True, text=True, env=env)
    return done.stdout.strip()


def resolve(name: str = NAME) -> str:
    """Let the master record the newest commit, and return it."""
    done = lab.salt_run("fleet.resolve")
    assert done.returncode == 0, done.stdout + done.stderr
    return str(json.loads(done.stdout)[name]["commit"])


@contextmanager
def moved(name: str = NAME, texts: Mapping[str, str] = NOTHING) -> Iterator[tuple[str, str]]:
    """Move the branch to a new commit, and back at the end.

    `texts`: files with another text there. All others stay as they are.

    Returns:
        The commit that the master has recorded, and the new one.
    """
    branch = f"refs/heads/{fleets.definition(name)['source']['revision']}"
    before = git("rev-parse", branch, name=name)
    tree = _tree(name, before, texts)
    after = git("commit-tree", tree, "-p", before, "-m", "moved", name=name)
    git("update-ref", branch, after, name=name)
    try:
        yield before, after
    finally:
        git("update-ref", branch, before, name=name)
        assert resolve(name) == before


def with_column(more: str = "") -> dict[str, str]:
    """Return texts for `moved` that change a module of Odoo: its table needs another column.

    `more`: further code at the end of the module's file.
    """
    former = git("show", f"refs/heads/{fleets.definition(NAME)['source']['revision']}:{LEAD}")
    assert former.count(FIELD) == 1
    text = former.replace(FIELD, f"    x_salina = fields.Char('Salina')\n{FIELD}")
    return {LEAD: text + more}


def _tree(name: str, commit: str, texts: Mapping[str, str]) -> str:
    """Write the tree of a commit with other texts in some files, and return its hash."""
    with tempfile.TemporaryDirectory() as place:
        index = str(Path(place, "index"))
        git("read-tree", commit, name=name, index=index)
        for path, text in texts.items():
            blob = git("hash-object", "-w", "--stdin", name=name, given=text)
            entry = f"100644,{blob},{path}"
            git("update-index", "--add", "--cacheinfo", entry, name=name, index=index)
        return git("write-tree", name=name, index=index)
