"""The deployment: Salt's orchestration on the lab's master, and the progress that it shows."""

import json
import subprocess
import tempfile
from collections.abc import Iterable

from rich.markup import escape

from lab.commands import console
from lab.errors import LabError
from lab.machines.containers import attach
from lab.machines.plan import Machine, Plan
from lab.process import run
from salina_fleet.change.progress import BAD, GOOD, RUNNING

UNIT = "salina-deploy"  # on the master; there is one deployment at a time
DEPLOY = ["/usr/local/bin/salt-run", "--out=json", "--log-level=error", "fleet.deploy"]
NEXT = "\nnext: "


def judge(code: int, printed: str, said: str) -> str:
    """Return the text of the end of a deployment: each step with its duration.

    Args:
        code: the exit code of `fleet.deploy`.
        printed: its standard output, JSON.
        said: its standard error without the progress.

    Raises:
        LabError: with host, state and cause of each failure.
    """
    try:
        text = str(json.loads(printed[printed.find('"') :]))
    except ValueError:  # it ended before it could say anything
        text = said.strip() or printed.strip() or f"exit code {code}"
        code = code or 1
    if not code:
        return text
    error, _, rest = text.partition(NEXT)
    command = rest.partition("\n")[0] or "salt-run fleet.deploy"
    raise LabError(
        f"the deployment failed:\n{error}",
        f"bin/lab {command}   (once the cause is fixed; `make up` deploys everything)",
    )


def show(lines: Iterable[str]) -> str:
    """Show the progress of a deployment, in place on a terminal. Return the other lines.

    Args:
        lines: the standard error of `fleet.deploy`.
    """
    said = []
    with console.out.status("deploying …") as status:
        for line in lines:
            text = line.rstrip()
            marked = escape(text).replace(GOOD, f"[green]{GOOD}[/]").replace(BAD, f"[red]{BAD}[/]")
            if text.startswith(RUNNING) and console.out.is_terminal:
                status.update(marked.removeprefix(RUNNING).strip())
                continue
            console.out.print(f"  {marked}")
            if not text.lstrip().startswith((RUNNING, GOOD, BAD)):
                said.append(text)
    return "\n".join(said)


def unit(name: str, command: list[str]) -> list[str]:
    """Return the command that runs another one as a unit, so that the unit can be stopped by name.

    Commands that it starts through `nsenter` do not end with it.
    """
    options = ["--quiet", "--collect", "--wait", "--pipe", "--setenv=LANG=C.UTF-8"]
    return ["systemd-run", *options, f"--unit={name}", *command]


def end(master: Machine, name: str) -> None:
    """Stop a unit on the master, if it runs."""
    run(attach(master, ["systemctl", "stop", f"{name}.service"]), check=False)


def create_secrets(master: Machine) -> None:
    """Make the secrets that are missing on the master.

    Raises:
        LabError: with the runner's message.
    """
    run(attach(master, ["salt-run", "--log-level=error", "secrets.create"]))


def orchestrate(wanted: Plan) -> str:
    """Deploy, show the progress, and wait for the end. Return the text of the end.

    Raises:
        LabError: with host, state and cause of each failure.
    """
    master = wanted.master
    end(master, UNIT)
    command = attach(master, unit(UNIT, DEPLOY))
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as printed,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        assert process.stderr
        try:
            said = show(process.stderr)
            code = process.wait()
        except KeyboardInterrupt:
            end(master, UNIT)
            raise
        printed.seek(0)
        return judge(code, printed.read(), said)
