"""Write salt/locks/*.txt: the exact versions of each environment whose packages come from PyPI.

Usage: python -m lab.mirror.locks [--upgrade]     (`make lock`)
"""

import sys
import tomllib
from typing import TypedDict

from lab.commands.console import step
from lab.paths import LOCKS, REPOSITORY
from lab.process import run

# This marker is never true, so an override with it excludes the distribution.
NEVER = "sys_platform == 'none'"


class Environment(TypedDict, total=False):
    """A table [tool.salina.locks.NAME] of pyproject.toml."""

    python: str
    requirements: list[str]
    exclude: list[str]


def environments() -> dict[str, Environment]:
    """Return the environments of pyproject.toml by their names."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    locks: dict[str, Environment] = project["tool"]["salina"]["locks"]
    return locks


def compile_lock(name: str, environment: Environment, upgrade: bool) -> None:
    """Write the lock of one environment with uv.

    Args:
        name: The environment's name.
        environment: Its table of pyproject.toml.
        upgrade: Whether to take the newest versions, instead of those already in the lock.

    Raises:
        LabError: uv found no versions that fit together.
    """
    target = LOCKS / f"{name}.txt"
    target.parent.mkdir(parents=True, exist_ok=True)
    overrides = LOCKS / f".{name}.overrides"
    overrides.write_text("".join(f"{dist}; {NEVER}\n" for dist in environment.get("exclude", [])))
    try:
        run(
            [
                *(sys.executable, "-m", "uv", "pip", "compile", "-"),
                *("--python-version", environment["python"], "--python-platform", "linux"),
                *("--override", overrides, "--output-file", target),
                *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
                *(["--upgrade"] if upgrade else []),
            ],
            text="\n".join(environment["requirements"]),
        )
    finally:
        overrides.unlink()


def main() -> None:
    """Write the lock of every environment."""
    for name, environment in environments().items():
        with step(f"lock: {name}"):
            compile_lock(name, environment, upgrade="--upgrade" in sys.argv[1:])


if __name__ == "__main__":
    main()
