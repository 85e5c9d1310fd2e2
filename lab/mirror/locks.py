"""Write salt/locks/*.txt: the exact versions of each environment that comes from PyPI.

CLI: python -m lab.mirror.locks [--upgrade]     (make lock)
"""

import sys
import tomllib
from typing import TypedDict

from lab.commands.console import step
from lab.paths import LOCKS, REPOSITORY
from lab.process import run

# Never true: an override with this marker takes the distribution out of the resolution.
NEVER = "sys_platform == 'none'"


class Environment(TypedDict, total=False):
    """A table of [tool.salina.locks] in pyproject.toml."""

    python: str
    requirements: list[str]
    exclude: list[str]


def environments() -> dict[str, Environment]:
    """Return the tables [tool.salina.locks.NAME] of pyproject.toml."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    locks: dict[str, Environment] = project["tool"]["salina"]["locks"]
    return locks


def compile_lock(name: str, environment: Environment, upgrade: bool) -> None:
    """Resolve one environment with uv; versions already in its lock stay unless upgraded."""
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
    """Write every lock."""
    for name, environment in environments().items():
        with step(f"lock: {name}"):
            compile_lock(name, environment, upgrade="--upgrade" in sys.argv[1:])


if __name__ == "__main__":
    main()
