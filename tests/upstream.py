"""A git repository for tests, in place of an application's upstream."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

WHO = ("-c", "user.name=x", "-c", "user.email=x@x.invalid")


class Upstream:
    """A bare repository with a branch `main`, which moves as the test says."""

    def __init__(self, place: Path) -> None:
        self.path = place
        self.url = f"file://{place}"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(place)], check=True)
        self.first = self.commit("first")

    def git(self, *arguments: str, text: str = "") -> str:
        """Run git in the repository, and return its output."""
        argv = ["git", *WHO, "-C", str(self.path), *arguments]
        return subprocess.run(
            argv, check=True, input=text, capture_output=True, text=True, env={**os.environ}
        ).stdout.strip()

    def commit(self, text: str, branch: str = "main", parent: str = "") -> str:
        """Commit a tree with one file, and move a branch there."""
        blob = self.git("hash-object", "-w", "--stdin", text=text)
        tree = self.git("mktree", text=f"100644 blob {blob}\tfile\n")
        before = ["-p", parent] if parent else []
        commit = self.git("commit-tree", tree, *before, "-m", text)
        self.git("update-ref", f"refs/heads/{branch}", commit)
        return commit

    def tag(self, name: str, commit: str) -> None:
        """Make an annotated tag."""
        self.git("tag", "--annotate", "--message", name, name, commit)
