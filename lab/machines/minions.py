"""The lab's minions, as the master sees them: which are connected, and which answer."""

import json
from collections.abc import Iterable, Set

from lab.errors import LabError
from lab.machines import containers
from lab.machines.plan import Machine, Plan
from lab.process import run, wait_until
from salina_fleet.connections import Connection, peers
from salina_fleet.connections import command as listing
from salina_fleet.roles.master import PUBLISH

CONNECT_SECONDS = 180
PYTHON = "/opt/salt/bin/python"
PING = """\
import json, sys
import salt.client
asked = salt.client.LocalClient()
asked.opts["gather_job_timeout"] = 2
answers = asked.cmd(sys.argv[2:], "test.ping", tgt_type="list", timeout=int(sys.argv[1]))
json.dump([name for name, answer in answers.items() if answer is True], sys.stdout)
"""
"""A program for the master: `salt` itself asks the same way, and takes twice as long for it."""


def connections(wanted: Plan) -> set[Connection]:
    """Return the connections on which minions listen to the master."""
    command = containers.attach(wanted.master, listing(PUBLISH))
    shown = run(command, check=False).stdout
    return peers(shown, {machine.management or "": machine.name for machine in wanted.minions})


def wait_until_connected(
    wanted: Plan,
    machines: Iterable[Machine] | None = None,
    before: Set[Connection] = frozenset(),
) -> None:
    """Wait until minions are connected and answer.

    Args:
        wanted: The plan of the lab.
        machines: The minions to wait for; by default all of them.
        before: Connections to ignore, because their minions were restarted or rebuilt since.

    Raises:
        LabError: Some minions did not answer within CONNECT_SECONDS.
    """
    expected = {machine.name for machine in machines or wanted.minions}
    silent = set(expected)

    def all_answer() -> bool:
        silent.intersection_update(expected - {name for name, _ in connections(wanted) - before})
        if silent:
            return False
        silent.update(expected - answering(wanted, expected))
        return not silent

    if not wait_until(all_answer, CONNECT_SECONDS, 0.5):
        raise not_connected(sorted(silent))


def answering(wanted: Plan, expected: Iterable[str], seconds: int = 30) -> set[str]:
    """Return the names of the minions that answer a ping.

    Args:
        wanted: The plan of the lab.
        expected: The minions to ask.
        seconds: How long to wait for answers.
    """
    asked = [PYTHON, "-c", PING, str(seconds), *sorted(expected)]
    shown = run(containers.attach(wanted.master, asked), check=False).stdout
    try:
        return set(json.loads(shown))
    except ValueError:
        return set()


def not_connected(silent: list[str]) -> LabError:
    """Return the error for minions that did not connect."""
    return LabError(
        f"these minions did not answer within {CONNECT_SECONDS} s: {', '.join(silent)}",
        f"bin/lab exec {silent[0]} -- journalctl -u salt-minion -n 30",
    )
