"""Write salt/locks/*.txt: the exact versions and the hashes of each environment from PyPI.

Usage: python -m lab.mirror.locks [--upgrade]     (`make lock`)
"""

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from lab.commands.console import step
from lab.paths import LOCKS, REPOSITORY
from lab.process import run
from salina.common import locks

# This marker is never true, so an override with it excludes the distribution.
NEVER = "sys_platform == 'none'"

# Debian bookworm has glibc 2.36; "linux" would stand for 2.17, for which some have no wheel.
PLATFORM = "x86_64-manylinux_2_36"


class Environment(TypedDict, total=False):
    """A table [tool.salina.locks.NAME] of pyproject.toml."""

    python: str
    requirements: list[str]
    exclude: list[str]
    sources: list[str]
    build: list[str]


def environments() -> dict[str, Environment]:
    """Return the environments of pyproject.toml by their names."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    found: dict[str, Environment] = project["tool"]["salina"]["locks"]
    return found


def compile_locks(name: str, environment: Environment, upgrade: bool) -> None:
    """Write the lock of one environment, and the lock of the tools that build its sources.

    Args:
        name: The environment's name.
        environment: Its table of pyproject.toml.
        upgrade: Whether to take the newest versions, instead of those already in the lock.

    Raises:
        LabError: uv found no versions that fit together.
    """
    target = LOCKS / f"{name}.txt"
    target.parent.mkdir(parents=True, exist_ok=True)
    compile_lock(target, environment, environment["requirements"], upgrade)
    if "build" in environment:
        tools = Environment(python=environment["python"])
        compile_lock(Path(locks.tools(str(target))), tools, environment["build"], upgrade)


def compile_lock(
    target: Path, environment: Environment, requirements: Sequence[str], upgrade: bool
) -> None:
    """Write one lock with uv.

    Args:
        target: The file of the lock.
        environment: The table of its environment.
        requirements: What the lock must contain, with all dependencies.
        upgrade: Whether to take the newest versions, instead of those already in the lock.

    Raises:
        LabError: uv found no versions that fit together, or a distribution has no wheel and is
            not one of the sources.
    """
    overrides, draft = target.with_suffix(".overrides"), target.with_suffix(".draft")
    draft.write_text(without_options(target.read_text() if target.exists() else ""))
    overrides.write_text("".join(f"{dist}; {NEVER}\n" for dist in environment.get("exclude", [])))
    sources = environment.get("sources", [])
    try:
        run(
            [
                *(sys.executable, "-m", "uv", "pip", "compile", "-", "--generate-hashes"),
                *("--python-version", environment["python"], "--python-platform", PLATFORM),
                *("--override", overrides, "--output-file", draft),
                *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
                *("--only-binary", ":all:"),
                *(option for source in sources for option in ("--no-binary", source)),
                *(["--upgrade"] if upgrade else []),
            ],
            text="\n".join(requirements),
        )
        # uv writes these options in an order in which pip ignores the second one
        options = [locks.WHEELS_ONLY, *([locks.SOURCES + ",".join(sources)] if sources else [])]
        target.write_text("".join(f"{line}\n" for line in options) + draft.read_text())
    finally:
        overrides.unlink()
        draft.unlink()


def without_options(lock: str) -> str:
    """Return a lock without its options for pip, because uv does not read several names in one."""
    return "".join(line for line in lock.splitlines(keepends=True) if not line.startswith("--"))


def main() -> None:
    """Write the locks of every environment."""
    for name, environment in environments().items():
        with step(f"lock: {name}"):
            compile_locks(name, environment, upgrade="--upgrade" in sys.argv[1:])


if __name__ == "__main__":
    main()
