"""The commits between two releases, for the plan of an upgrade."""

from __future__ import annotations

import os
import subprocess
import tempfile

from salina.application import git
from salina_fleet import secrets
from salina_fleet.change.progress import printable
from salina_fleet.revisions import Source

MOST = 100
"""The commits that are fetched. Without their files, they are some kilobytes."""
SECONDS = 60
"""The time that this may take."""


def since(source: Source, store: secrets.Source, commit: str, former: str) -> tuple[list[str], str]:
    """Return the commits of a repository after a former one.

    Args:
        source: the repository, as `salina_fleet.model.release.sources` returns it.
        store: the secrets, for a deploy key.
        commit: the newest commit.
        former: the beginning of the former one.

    Returns:
        The commits, the newest first, each with its first line; and a sentence if the former one is
        not among the last `MOST`, or if the repository does not answer.
    """
    try:
        key = secrets.deploy_key(store, source["key"])
    except secrets.SecretsError as error:
        return [], f"the commits are not known: {error}"
    with (
        tempfile.TemporaryDirectory() as place,
        git.environment(key, source["known_hosts"]) as access,
    ):
        env = {**os.environ, **access, "LC_ALL": "C"}

        def run(*arguments: str) -> str:
            command = ["timeout", str(SECONDS), "git", "-C", place, *arguments]
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=env,
                check=True,
            )
            return done.stdout

        try:
            run("init", "--quiet", "--bare")
            depth = f"--depth={MOST + 1}"  # a server that cannot leave files out sends them
            run("fetch", "--quiet", depth, "--filter=tree:0", "--", source["repository"], commit)
            known = run("rev-list", commit).split()
            begin = next((one for one in known if one.startswith(former)), "")
            range_ = f"{begin}..{commit}" if begin else commit
            found = run("log", f"--max-count={MOST}", "--format=%h %s", range_).splitlines()
        except subprocess.CalledProcessError as error:
            why = " ".join(error.stderr.split()) or f"exit code {error.returncode}"
            return [], f"the commits are not known: {why}"
    unknown = "" if begin else f"{former} is not among the {MOST} commits before it"
    return [printable(line) for line in found], unknown
