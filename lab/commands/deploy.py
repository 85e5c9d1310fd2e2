"""The deployment: Salt's orchestration on the lab's master, watched through Salt's event bus."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import IO, Any

from lab.commands import console
from lab.errors import LabError
from lab.machines.containers import attach
from lab.machines.plan import Machine, Plan
from lab.process import run
from salina.common.orchestration import Failure, failures, told

ORCHESTRATION = "orch.deploy"
UNIT = "salina-deploy"  # on the master; there is one deployment at a time
WATCH = "salina-watch"
STATE_FUNCTIONS = ("state.apply", "state.sls", "state.highstate", "state.sls_id")


# The result of an orchestration


def judge(code: int, printed: str, said: str) -> None:
    """Raise an error unless an orchestration succeeded.

    Args:
        code: its exit code.
        printed: its standard output, JSON.
        said: its standard error.

    Raises:
        LabError: with host, state and cause of each failure.
    """
    found: list[Failure] = []
    try:
        for steps in json.loads(printed[printed.find("{") :])["data"].values():
            found += failures(steps, ORCHESTRATION)
    except (ValueError, TypeError, KeyError, AttributeError):
        pass  # it is not an orchestration's result: the exit code tells
    if code and not found:
        said = said.strip() or printed.strip() or f"exit code {code}"
        found = failures(said, ORCHESTRATION)
    if found:
        raise LabError(
            f"the deployment failed:\n{told(found)}",
            f"bin/lab {found[0].next}   (once the cause is fixed; `make up` deploys everything)",
        )


# Progress


@dataclass
class Progress:
    """The hosts that are applying states, according to the events of the bus."""

    roles: Mapping[str, str]
    jobs: dict[str, str] = field(default_factory=dict)
    begun: dict[tuple[str, str], float] = field(default_factory=dict)

    def line(self, tag: str, data: Mapping[str, Any], now: float) -> str | None:
        """Take note of an event; return a line to print for it, if any.

        Args:
            tag: salt/job/JID/new or salt/job/JID/ret/HOST; any other is ignored.
            data: the event.
            now: seconds.
        """
        match tag.split("/"):
            case ["salt", "job", jid, "new"] if data.get("fun") in STATE_FUNCTIONS:
                self.jobs[jid] = what(data)
                self.begun |= {(jid, host): now for host in data.get("minions", [])}
            case ["salt", "job", jid, "ret", host] if jid in self.jobs:
                seconds = now - self.begun.pop((jid, host), now)
                sign = "[green]✓[/]" if data.get("retcode", 1) == 0 else "[red]✗[/]"
                text = f"{host:<8} {self.roles.get(host, ''):<16} {self.jobs[jid]}"
                return f"  {sign} {text}{outcome(data.get('return'))} [dim]{seconds:.0f} s[/]"
        return None

    def pending(self) -> str:
        """Return the names of the hosts that have not yet returned."""
        return " ".join(dict.fromkeys(host for _, host in self.begun))


def outcome(states: object) -> str:
    """Return the result of a run of states in a few words."""
    if not isinstance(states, dict):
        return "could not begin"
    results = [state for state in states.values() if isinstance(state, dict)]
    failed = sum(state.get("result") is False for state in results)
    changed = sum(bool(state.get("changes")) for state in results)
    words = f"{changed} of {len(results)} states changed"
    return f"{words}, {failed} failed" if failed else words


def what(data: Mapping[str, Any]) -> str:
    """Return the names of the SLS files that a job applies; empty for the highstate."""
    for argument in data.get("arg") or []:
        if isinstance(argument, str):
            return f"{argument}: "
        if isinstance(argument, dict) and isinstance(argument.get("mods"), str | list):
            mods = argument["mods"]
            return (mods if isinstance(mods, str) else ",".join(mods)) + ": "
    return ""


def events(stream: IO[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the events of `salt-run state.event`: each line has a tag and JSON."""
    for line in stream:
        tag, _, text = line.partition("\t")
        try:
            data = json.loads(text)
        except ValueError:
            continue
        yield tag, data


def unit(name: str, command: list[str]) -> list[str]:
    """Return the command that runs another one as a unit, so that the unit can be stopped by name.

    Commands that it starts through `nsenter` do not end with it.
    """
    options = ["--quiet", "--collect", "--wait", "--pipe", "--setenv=LANG=C.UTF-8"]
    return ["systemd-run", *options, f"--unit={name}", *command]


def end(master: Machine, name: str) -> None:
    """Stop a unit on the master, if it runs."""
    run(attach(master, ["systemctl", "stop", f"{name}.service"]), check=False)


@contextmanager
def watched(wanted: Plan) -> Iterator[None]:
    """Print the progress of jobs while something else runs."""
    listen = ["/usr/local/bin/salt-run", "--log-level=quiet", "state.event", "salt/job/*"]
    end(wanted.master, WATCH)
    process = subprocess.Popen(
        attach(wanted.master, unit(WATCH, listen)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    stream = process.stdout
    progress = Progress({machine.name: " ".join(machine.roles) for machine in wanted.machines})
    with console.out.status("deploying …") as status:

        def follow() -> None:
            for tag, data in events(stream):
                line = progress.line(tag, data, time.monotonic())
                if line:
                    console.out.print(line)
                status.update(f"deploying: {progress.pending() or 'the next tier'} …")

        thread = Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            end(wanted.master, WATCH)
            process.wait()
            thread.join()


# Acting


def create_secrets(master: Machine) -> None:
    """Make the secrets that are missing on the master.

    Raises:
        LabError: with the runner's message.
    """
    run(attach(master, ["salt-run", "--log-level=error", "secrets.create"]))


def orchestrate(wanted: Plan) -> None:
    """Deploy, and wait for the end.

    Raises:
        LabError: with host, state and cause of each failure.
    """
    master = wanted.master
    end(master, UNIT)
    salt = ["/usr/local/bin/salt-run", "--out=json", "--log-level=error"]
    command = unit(UNIT, [*salt, "state.orchestrate", ORCHESTRATION])
    try:
        with watched(wanted):
            done = run(attach(master, command), check=False)
    except KeyboardInterrupt:
        end(master, UNIT)
        raise
    judge(done.returncode, done.stdout, done.stderr)
