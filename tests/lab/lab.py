"""The running lab, as tests use it: commands on hosts, Salt, faults."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.commands import status
from lab.errors import LabError
from lab.machines import containers, inventory, topology_file
from tests import fleets

LAB = Path(__file__).parents[2] / "bin" / "lab"
OWN = bool(os.environ.get("OWN_LAB"))
"""Whether the tests made the lab themselves and may take it away (the Makefile knows)."""

State = dict[str, Any]
Results = dict[str, dict[str, State]]
"""The result of an apply: by host, by the state's id."""


def execute(host: str, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as `bin/lab exec` does, without a new Python for each of hundreds of calls."""
    __tracebackhide__ = True  # `given` may be secret, and pytest shows arguments
    machine = inventory.current_plan().machine(host)
    if not containers.answers(machine):  # nor would the command ever end where all is frozen
        return subprocess.CompletedProcess(command, 1, "", f"{host} is stopped or frozen")
    attach = containers.attach(machine, command)
    return subprocess.run(attach, input=given, capture_output=True, text=True)


def run(host: str, *command: str, given: str = "", check: bool = True) -> str:
    """The output of a command on a host; what it says on standard error is in the failure."""
    __tracebackhide__ = True
    result = execute(host, *command, given=given)
    assert not check or result.returncode == 0, f"{host} {command}: {result.stderr}"
    return result.stdout


def shell(host: str, script: str, check: bool = True) -> str:
    """The output of a shell script on a host."""
    return run(host, "sh", "-es", given=script, check=check)


def master() -> str:
    """Return the host of the master."""
    return str(inventory.current_plan().master.name)


def salt(*arguments: str) -> dict[str, Any]:
    """Return Salt's answer, as data by host.

    Without `--static`, with which Salt waits for the timeout alone and never asks whether a
    minion is still at work.
    """
    result = execute(master(), "salt", "--out=json", *arguments)
    answers: dict[str, Any] = {}
    text = result.stdout.strip()
    while text:
        try:
            answer, end = json.JSONDecoder().raw_decode(text)
        except ValueError:
            raise AssertionError(f"{arguments}: {text} {result.stderr}") from None
        answers |= answer
        text = text[end:].lstrip()
    assert answers, f"{arguments}: {result.stderr}"
    return answers


def salt_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`salt-run` on the master: what it said, as JSON, and its exit code."""
    return execute(master(), "salt-run", "--out=json", *arguments)


def apply(target: str, sls: str, *, test: bool = False, **definition: Any) -> Results:
    """Apply an SLS on a host, on several ("s1,s2") or on a pattern; return the results.

    `definition`: keys of the application's file that are to be otherwise, this once.
    """
    hosts = ["-L", target] if "," in target else [target]
    pillar = {"app": {"definition": definition}} if definition else {}
    options = [f"test={test}", "queue=True", f"pillar={json.dumps(pillar)}"]
    return results(salt(*hosts, "state.apply", sls, *options))


def highstate(*, test: bool = False, absent: Collection[str] = ()) -> Results:
    """Apply the highstate on every host of the fleet; return the results.

    `absent`: hosts that the fleet expects, but that do not exist.
    """
    found = results(salt("*", "state.apply", f"test={test}", "queue=True"))
    planned = {machine.name for machine in inventory.current_plan().minions}
    silent = planned - set(found) - set(absent)
    assert not silent, f"no answer from {sorted(silent)}"
    return found


def results(answer: dict[str, Any]) -> Results:
    """Salt's answer, each state by the id it has in its SLS."""
    for host, states in answer.items():
        assert isinstance(states, dict), f"{host}: {states}"
        none = {key: state for key, state in states.items() if "__id__" not in state}
        assert not none, f"{host}: {none}"  # for instance that no states were found
    return {host: _by_id(states) for host, states in answer.items()}


def _weight(state: dict[str, Any]) -> tuple[bool, bool]:
    return state["result"] is False, bool(state["changes"])


def _by_id(states: dict[str, Any]) -> dict[str, Any]:
    """Return states by their ids. A failed one, or else a changed one, stands for all that share
    an id (`names`).
    """
    return {state["__id__"]: state for state in sorted(states.values(), key=_weight)}


def changes(found: Results) -> list[str]:
    """A line for each state that changed something, or would."""
    return [
        f"{host}: {name}: {state['changes'] or state['comment']}"
        for host, states in found.items()
        for name, state in states.items()
        if state["changes"] or state["result"] is None
    ]


def failures(found: Results) -> list[str]:
    """A line for each state that failed."""
    return [
        f"{host}: {name}: {state['comment']}"
        for host, states in found.items()
        for name, state in states.items()
        if state["result"] is False
    ]


def unchanged(*, test: bool) -> None:
    """Fail if a run of all states, or with `test` its prediction, fails or changes something."""
    found = highstate(test=test)
    told = [*failures(found), *changes(found)]
    assert not told, "\n".join(told)


def live(name: str = "crm") -> str:
    """The path of long polling or websockets of an application; "" if it has none."""
    topology = topology_file.read()
    found = status.definitions(topology)[topology.applications[name].definition]["live"]
    return str(found["path"]) if found else ""


def lab(*arguments: str) -> None:
    """Another command of the lab: ("rebuild", "nas3")."""
    result = subprocess.run([LAB, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, f"bin/lab {arguments}: {result.stdout} {result.stderr}"


def up(*options: str) -> None:
    """`bin/lab up`; where it fails, what its hosts say of it goes into the report."""
    done = subprocess.run([LAB, "up", *options])
    assert done.returncode == 0, f"bin/lab up ended with {done.returncode}\n{troubles()}"


def troubles() -> str:
    """The units that wait or failed on each host, with the last lines of their journals, and those
    of each application's log.
    """
    script = """
        waiting=$(systemctl list-jobs --no-legend | awk '{print $2}')
        failed=$(systemctl --failed --no-legend --plain | awk '{print $1}')
        for unit in $waiting $failed; do
            echo "$unit is $(systemctl is-active "$unit"):"
            journalctl --no-pager --lines 10 --unit "$unit"
        done
        for log in /var/log/odoo/*.log /var/log/node/*.log; do
            [ ! -e "$log" ] || tail --lines 60 "$log"
        done
    """
    said = {
        each.name: shell(each.name, script, check=False)
        for each in inventory.current_plan().minions
    }
    return "\n".join(f"{host}:\n{text}" for host, text in said.items() if text)


@contextmanager
def sending(host: str) -> Iterator[None]:
    """A host whose root, an attacker, lets every packet out: only the others' firewalls count."""
    opened = "OUTPUT -m comment --comment attack -j ACCEPT"
    shell(host, f"iptables -I {opened}; ip6tables -I {opened}")
    try:
        yield
    finally:
        shell(host, f"iptables -D {opened}; ip6tables -D {opened}")


@contextmanager
def another(name: str) -> Iterator[None]:
    """The lab with another topology, instead of any other; away afterwards.

    A developer's own lab is left alone: with this topology it is taken as it is, and stays.
    """
    wanted = fleets.topology(name)
    try:
        there = topology_file.read()
    except LabError:
        there = None
    if there and (there.hosts, there.pools) == (wanted.hosts, wanted.pools):
        yield
        return
    if there:
        if not OWN:
            pytest.skip("the lab is up with another topology; `make down` first")
        subprocess.run([LAB, "down"], check=True)
    up("--topology", str(fleets.OTHERS[name]))
    yield
    subprocess.run([LAB, "down"], check=True)


def fault(kind: str, *hosts: str) -> None:
    """Break hosts until `heal`."""
    lab("fault", kind, *hosts)


def heal(*hosts: str) -> None:
    """End the faults of these hosts."""
    lab("heal", *hosts)
