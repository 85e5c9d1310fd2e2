"""Questions of the master to minions: do they answer, do they apply states, what does a function
say.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

import salt.client
from salt.exceptions import SaltClientError

from salina.common import wait
from salina_fleet import connections
from salina_fleet.change import follow
from salina_fleet.errors import RunnerError
from salina_fleet.fleet import Fleet

FIRST, LONGEST = 1, 8
"""Seconds to wait for an answer: the first time, doubled each time, and at most."""
ANSWER, GATHER = 30, 5
"""Seconds for an answer, and for the question whether a silent host is still at its work."""
WORK, BUSY = 60, 45
"""The same for a function that works long, on a host that has no idle processor meanwhile."""
RESTART = "salina-minion-restart"
"""The transient unit that restarts a minion after the run which changed its configuration."""


def client(opts: dict[str, Any], **more: Any) -> Any:
    """Return Salt's client with the master's options and some others."""
    return salt.client.get_local_client(mopts={**opts, **more})


def silent(opts: dict[str, Any], hosts: Sequence[str], timeout: int) -> list[str]:
    """Wait until the hosts' minions answer, and return the hosts that do not.

    A minion that is about to restart counts as one that does not answer yet.

    Args:
        opts: the master's options.
        hosts: the hosts to ask.
        timeout: seconds; 0 asks once.
    """
    rest, salt_client = list(hosts), client(opts)
    patience = FIRST  # one that is away is asked again soon, rather than waited for

    def all_answer() -> bool:
        nonlocal patience
        asked = ("service.status", [RESTART])
        salt_client.opts["gather_job_timeout"] = patience
        try:
            answers = (
                salt_client.cmd(rest, *asked, tgt_type="list", timeout=patience) if rest else {}
            )
        except SaltClientError:  # the master itself is about to start
            answers = {}
        follow.note([host for host in rest if answers.get(host) is False], "answers", True)
        rest[:] = [host for host in rest if answers.get(host) is not False]
        follow.note(rest, "does not answer yet")
        patience = min(2 * patience, LONGEST)
        return not rest

    wait.until(all_answer, timeout)
    return rest


def busy(opts: dict[str, Any], hosts: Sequence[str], timeout: int) -> dict[str, str]:
    """Wait until no host's minion applies states, and return the hosts whose minions do.

    Args:
        opts: the master's options.
        hosts: the hosts to ask.
        timeout: seconds; 0 asks once.

    Returns:
        Each of these hosts with who holds it, in words.
    """
    rest, salt_client = list(hosts), client(opts)
    holders = dict[str, str]()

    def all_idle() -> bool:
        asked = ("saltutil.is_running", ["state.*"])
        answers = salt_client.cmd(rest, *asked, tgt_type="list") if rest else {}
        follow.note([host for host in rest if not answers.get(host)], "is idle", True)
        rest[:] = [host for host in rest if answers.get(host)]
        holders.clear()
        holders.update({host: holder(answers[host]) for host in rest})
        for host in rest:
            follow.note([host], f"still applies states: {holders[host]}")
        return not rest

    wait.until(all_idle, timeout)
    return holders


def holder(running: Any) -> str:
    """Return who applies states on a host, in words.

    Args:
        running: the host's answer to `saltutil.is_running`.
    """
    if not isinstance(running, list):  # an error in the place of an answer
        return str(running)
    return ", ".join(
        f"{job['fun']} by {job.get('user') or 'an unknown user'} as job {job['jid']}"
        for job in running
    )


def connected(opts: dict[str, Any], fleet: Fleet) -> set[str]:
    """Return the hosts whose minions have a connection to the master now.

    Salt's own list needs `minion_data_cache`, which master.d turns off. A connection within this
    host says nothing about the minion, so it may be that of any host.
    """
    names = {fleet.address(host, "management"): host.id for host in fleet.hosts.values()}
    listing = connections.command(int(opts["publish_port"]))
    shown = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    within = connections.peers(shown, dict.fromkeys(("127.0.0.1", "::1"), ""))
    return set(fleet.hosts) if within else {host for host, _ in connections.peers(shown, names)}


def answers(
    opts: dict[str, Any],
    hosts: Sequence[str],
    function: str,
    arguments: Sequence[Any],
    timeout: int,
    gather: int,
) -> dict[str, dict[str, Any]]:
    """Call a function on hosts, and return the answer of each host that gives one, with `retcode`.

    Args:
        opts: the master's options.
        hosts: the hosts to ask.
        function: the function.
        arguments: its arguments.
        timeout: seconds after which the master asks whether a silent host still works on it.
        gather: seconds to wait for the answer to that.
    """
    if not hosts:
        return {}
    asked = (list(hosts), function, list(arguments), timeout)
    salt_client = client(opts, gather_job_timeout=gather)
    found = salt_client.cmd(*asked, tgt_type="list", full_return=True)
    return {host: answer for host, answer in found.items() if answer.get("out") != "no_return"}


def predictions(
    opts: dict[str, Any],
    hosts: Sequence[str],
    timeout: int,
    patience: float,
    heard: Callable[[Sequence[str]], None],
) -> dict[str, Any]:
    """Let hosts predict what an apply would change, and return what each of them returns.

    Args:
        opts: the master's options.
        hosts: the hosts to ask.
        timeout: seconds after which the master asks whether a silent host still works on it.
        patience: seconds after which a host that still works on it is given up.
        heard: called again and again while hosts work, with those that have not returned yet.
    """
    if not hosts:
        return {}
    limit, found = time.monotonic() + patience, dict[str, Any]()
    asked = (list(hosts), "state.apply", (), timeout, "list")
    for returned in client(opts).cmd_iter_no_block(*asked, kwarg={"test": True}):
        for host, answer in (returned or {}).items():
            if host in hosts and "ret" in answer and not answer.get("failed"):
                found[host] = answer["ret"]
        heard([host for host in hosts if host not in found])
        if time.monotonic() > limit:
            break
    return found


def call(
    opts: dict[str, Any],
    host: str,
    function: str,
    arguments: Sequence[Any],
    seconds: int,
    gather: int = GATHER,
) -> Any:
    """Call a function on a host, however long it works, and return its answer.

    Args:
        opts: the master's options.
        host: the host.
        function: the function.
        arguments: its arguments.
        seconds: after these the master asks for the first time whether the host still works on it.
        gather: seconds that it has to answer that.

    Raises:
        RunnerError: the function fails, or the host does not answer.
    """
    said, faults = together(opts, [host], function, arguments, seconds, gather)
    if faults:
        raise RunnerError(faults[host])
    return said[host]


def work(opts: dict[str, Any], host: str, function: str, *arguments: Any) -> Any:
    """Call a function that works long on a host, and return its answer.

    Args:
        opts: the master's options.
        host: the host.
        function: the function.
        arguments: its arguments.

    Raises:
        RunnerError: the function fails, or the host does not answer.
    """
    return call(opts, host, function, arguments, WORK, BUSY)


def together(
    opts: dict[str, Any],
    hosts: Sequence[str],
    function: str,
    arguments: Sequence[Any],
    seconds: int,
    gather: int,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Call a function on several hosts at once, and return their answers and their faults.

    Args:
        opts: the master's options.
        hosts: the hosts.
        function: the function.
        arguments: its arguments.
        seconds: as in `call`.
        gather: as in `call`.

    Returns:
        The answer of each host that gave one, and why each other one did not.
    """
    found = answers(opts, hosts, function, arguments, seconds, gather)
    said, faults = dict[str, Any](), dict[str, str]()
    for host in hosts:
        answer = found.get(host)
        if answer is None:
            faults[host] = f"{host}: no answer\nnext: salt-run fleet.health"
        elif answer.get("retcode") or answer.get("success") is False:
            faults[host] = f"{host}: {answer.get('ret')}"
        else:
            said[host] = answer["ret"]
    return said, faults


def ask(
    opts: dict[str, Any], hosts: Sequence[str], function: str, arguments: Sequence[Any] = ()
) -> dict[str, Any]:
    """Call a function on hosts, and return each host's answer.

    Raises:
        RunnerError: the function fails on a host, or a host does not answer.
    """
    asked = (list(hosts), function, list(arguments))
    answers = client(opts).cmd(*asked, tgt_type="list", full_return=True)
    failed = {
        host: answers.get(host, {}).get("ret", "it did not answer")
        for host in hosts
        if answers.get(host, {}).get("retcode", 1)
    }
    if failed:
        told = "; ".join(f"{host}: {said}" for host, said in failed.items())
        raise RunnerError(f"{function} failed on {told}")
    return {host: answers[host]["ret"] for host in hosts}
