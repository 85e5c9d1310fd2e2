"""The deployment: Salt's orchestration on the lab's master, watched through Salt's event bus."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import IO, Any

from lab import console
from lab.containers import attach
from lab.errors import LabError
from lab.plan import Machine
from lab.process import run

ORCHESTRATION = "orch.deploy"
UNIT = "salina-deploy"  # on the master; there is one deployment at a time
STATE_FUNCTIONS = ("state.apply", "state.sls", "state.highstate", "state.sls_id")
CONSEQUENCE = "One or more requisite failed"


@dataclass(frozen=True)
class Failure:
    """A state that failed on a host, and why."""

    host: str
    state: str
    cause: str


# What an orchestration returned


def failures(returned: Mapping[str, Any]) -> list[Failure]:
    """Return what failed in an orchestration, without what failed only in consequence.

    :param returned: what `salt-run state.orchestrate --out=json` printed
    """
    found: list[Failure] = []
    for steps in returned.get("data", returned).values():
        if not isinstance(steps, dict):
            found.append(Failure("salt", ORCHESTRATION, plain(steps)))
            continue
        for tag, step in steps.items():
            if step.get("result") is False:
                found += step_failures(tag, step)
    causes = [failure for failure in found if not failure.cause.startswith(CONSEQUENCE)]
    return causes or found


def step_failures(tag: str, step: Mapping[str, Any]) -> list[Failure]:
    """Return what failed in one step of an orchestration: in its hosts, or the step itself."""
    hosts = step.get("changes", {}).get("ret", {})
    found = [
        failure
        for host, states in (hosts.items() if isinstance(hosts, dict) else ())
        for failure in host_failures(host, states)
    ]
    return found or [Failure("salt", identifier(tag, step), plain(step.get("comment", "")))]


def host_failures(host: str, states: object) -> list[Failure]:
    """Return the failed states of one host; a host that returned text could not begin."""
    if not isinstance(states, dict):
        return [] if states is True else [Failure(host, "state.apply", plain(states))]
    return [
        Failure(host, identifier(tag, state), plain(state.get("comment", "")))
        for tag, state in states.items()
        if isinstance(state, dict) and state.get("result") is False
    ]


def identifier(tag: str, state: Mapping[str, Any]) -> str:
    """Return a state's id and function, as they are written in its SLS file.

    :param tag: Salt's own name of it: module_|-id_|-name_|-function
    """
    parts = tag.split("_|-")
    name = str(state.get("__id__") or (parts[1] if len(parts) > 1 else tag))
    return f"{name} ({parts[0]}.{parts[-1]})" if len(parts) == 4 else name


def plain(text: object) -> str:
    """Return text, or the lines of a list, as one text."""
    return "\n".join(map(str, text)) if isinstance(text, list) else str(text).strip()


def report(found: list[Failure]) -> LabError:
    """Return the error that names each host, state and cause."""
    lines = [f"  {one.host}: {one.state}\n{indent(one.cause)}" for one in found[:10]]
    if len(found) > 10:
        lines.append(f"  and {len(found) - 10} more")
    return LabError(
        "the deployment failed:\n" + "\n".join(lines),
        f"bin/lab salt {found[0].host} state.apply   (after mending; or all of it: make up)",
    )


def indent(text: str) -> str:
    """Return the text's lines, indented."""
    return "\n".join(f"    {line}" for line in text.splitlines())


# Progress


@dataclass
class Progress:
    """Which hosts are applying which states, as told by the events of the bus."""

    jobs: dict[str, str] = field(default_factory=dict)
    begun: dict[tuple[str, str], float] = field(default_factory=dict)

    def line(self, tag: str, data: Mapping[str, Any], now: float) -> str | None:
        """Take one event in; return a line to print for it, if any.

        :param tag: salt/job/JID/new or salt/job/JID/ret/HOST; others are of no interest
        :param data: the event
        :param now: seconds
        """
        match tag.split("/"):
            case ["salt", "job", jid, "new"] if data.get("fun") in STATE_FUNCTIONS:
                self.jobs[jid] = what(data)
                self.begun |= {(jid, host): now for host in data.get("minions", [])}
            case ["salt", "job", jid, "ret", host] if jid in self.jobs:
                start = self.begun.pop((jid, host), now)
                good = data.get("retcode", 1) == 0
                sign = "[green]✓[/]" if good else "[red]✗[/]"
                return f"  {sign} {host:<8} {self.jobs[jid]} [dim]{now - start:.0f} s[/]"
        return None

    def pending(self) -> str:
        """Return what is under way: the hosts that have not yet returned, by job."""
        groups: dict[str, list[str]] = {}
        for jid, host in self.begun:
            groups.setdefault(self.jobs[jid], []).append(host)
        return ", ".join(f"{job}: {' '.join(hosts)}" for job, hosts in groups.items())


def what(data: Mapping[str, Any]) -> str:
    """Return what a job applies: the names of its SLS files, or everything."""
    for argument in data.get("arg") or []:
        if isinstance(argument, str):
            return argument
        if isinstance(argument, dict) and isinstance(argument.get("mods"), str | list):
            mods = argument["mods"]
            return mods if isinstance(mods, str) else ",".join(mods)
    return "everything"


def events(stream: IO[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the events of `salt-run state.event`: each line has a tag and JSON."""
    for line in stream:
        tag, _, text = line.partition("\t")
        try:
            data = json.loads(text)
        except ValueError:
            continue
        yield tag, data


@contextmanager
def watched(master: Machine) -> Iterator[None]:
    """Print the progress of jobs while something else runs."""
    command = attach(master, ["salt-run", "--log-level=quiet", "state.event", "salt/job/*"])
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    progress = Progress()
    assert process.stdout
    stream = process.stdout
    with console.out.status("deploying …") as status:

        def follow() -> None:
            for tag, data in events(stream):
                line = progress.line(tag, data, time.monotonic())
                if line:
                    console.out.print(line)
                status.update(f"deploying: {progress.pending() or 'next step'} …")

        thread = Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            process.terminate()
            process.wait()
            thread.join(5)


# Acting


def create_secrets(master: Machine) -> None:
    """Make the secrets which the master lacks.

    :raises LabError: with the runner's message
    """
    run(attach(master, ["salt-run", "--log-level=error", "secrets.create"]))


def orchestrate(master: Machine) -> None:
    """Deploy, and wait for the end.

    It runs as a unit of the master, so that one which was interrupted is ended by name.

    :raises LabError: with host, state and cause of each failure
    """
    run(attach(master, ["systemctl", "stop", f"{UNIT}.service"]), check=False)
    unit = ["systemd-run", "--quiet", "--collect", "--wait", "--pipe", f"--unit={UNIT}"]
    salt = ["salt-run", "--out=json", "--log-level=error", "state.orchestrate", ORCHESTRATION]
    try:
        with watched(master):
            done = run(attach(master, [*unit, "--setenv=LANG=C.UTF-8", *salt]), check=False)
    except KeyboardInterrupt:
        run(attach(master, ["systemctl", "stop", f"{UNIT}.service"]), check=False)
        raise
    judge(done.returncode, done.stdout, done.stderr)


def judge(code: int, printed: str, said: str) -> None:
    """Raise an error unless an orchestration succeeded.

    :param code: its exit code
    :param printed: its standard output, JSON
    :param said: its standard error
    """
    try:
        found = failures(json.loads(printed))
    except (ValueError, AttributeError):
        found = [Failure("salt", ORCHESTRATION, said.strip() or printed.strip())] if code else []
    if code and not found:
        found = [Failure("salt", ORCHESTRATION, said.strip() or f"exit code {code}")]
    if found:
        raise report(found)
