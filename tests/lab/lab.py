"""The running lab, as tests use it: commands on hosts, Salt, faults."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

LAB = Path(__file__).parents[2] / "bin" / "lab"


def run(host: str, *command: str, given: str = "", check: bool = True) -> str:
    """The output of a command on a host; what it says on standard error is in the failure."""
    result = subprocess.run(
        [LAB, "exec", host, "--", *command], input=given, capture_output=True, text=True
    )
    assert not check or result.returncode == 0, f"{host} {command}: {result.stderr}"
    return result.stdout


def shell(host: str, script: str, check: bool = True) -> str:
    """The output of a shell script on a host."""
    return run(host, "sh", "-es", given=script, check=check)


def salt(*arguments: str) -> Any:
    """What Salt answered, as data by host."""
    command = [LAB, "salt", "--out=json", "--static", "--timeout=30", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(result.stdout)
    except ValueError:
        raise AssertionError(f"{arguments}: {result.stdout} {result.stderr}") from None


def apply(target: str, sls: str, *, test: bool = False) -> dict[str, dict[str, dict[str, Any]]]:
    """What a `state.apply` gave: by host, by the state's id."""
    answer = salt(target, "state.apply", sls, f"test={test}", "queue=True")
    for host, states in answer.items():
        assert isinstance(states, dict), f"{host}: {states}"
    return {
        host: {state["__id__"]: state for state in states.values()}
        for host, states in answer.items()
    }


def lab(*arguments: str) -> None:
    """Another command of the lab: ("rebuild", "nas3")."""
    result = subprocess.run([LAB, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, f"bin/lab {arguments}: {result.stdout} {result.stderr}"


def fault(kind: str, *hosts: str) -> None:
    """Break hosts until `heal`."""
    lab("fault", kind, *hosts)


def heal(*hosts: str) -> None:
    """End the faults of these hosts."""
    lab("heal", *hosts)
