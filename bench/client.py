"""A client that requests the login page all the time, and tells each answer."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from bench.web import LOGIN, page, ways
from lab.machines import topology_file
from salina.common import wait
from tests.lab.traffic import Background

TIMEOUT = 10  # seconds for a request
PATIENCE = 900  # seconds until the page answers
CLIENT = """
import http.client, ssl

tls = ssl._create_unverified_context()
headers = {"Host": given["domain"], "Cookie": given["cookie"]}
while not stopped.wait(0.2):
    begun, status, again = time.time(), 0, None
    connection = http.client.HTTPSConnection(
        given["address"], timeout=given["timeout"], context=tls)
    try:
        connection.request("GET", given["path"], headers=headers)
        answer = connection.getresponse()
        answer.read()
        status, again = answer.status, answer.headers.get("Retry-After")
    except (OSError, http.client.HTTPException):
        pass
    connection.close()
    say(begun=begun, ended=time.time(), status=status, again=again)
"""
Answers = Sequence[Mapping[str, Any]]


def good(answer: Mapping[str, Any]) -> bool:
    """Return whether a request got the page."""
    return bool(answer["status"] == 200)


def outage(answers: Answers) -> float:
    """Return the longest time between two good answers, in seconds."""
    ends = [float(one["ended"]) for one in answers if good(one)]
    return max(later - earlier for earlier, later in pairwise(ends))


def failed(answers: Answers) -> str:
    """Return how many requests had no good answer, in words."""
    return f"{sum(not good(one) for one in answers)} of {len(answers)} requests failed"


@contextmanager
def watching(timeout: int = TIMEOUT) -> Iterator[list[Mapping[str, Any]]]:
    """Request the page during the block. Its list has the answers when it ends.

    Args:
        timeout: Seconds for a request.
    """
    through = ways()["through"]
    asks = {
        "address": topology_file.read().service.address,
        "domain": through.domain,
        "path": LOGIN,
        "cookie": page(through)[0],  # without one, each request would create a session
        "timeout": timeout,
    }
    answers: list[Mapping[str, Any]] = []
    with Background("c1", CLIENT, **asks) as client:
        _wait_for_answer(client)
        yield answers
        _wait_for_answer(client)
        answers += client.lines()


def _wait_for_answer(client: Background) -> None:
    """Wait until the client gets the page for a request that it sends from now on."""
    since = time.time()

    def obstacle() -> str:
        answers = [one for one in client.lines() if one["begun"] > since]
        return "" if any(good(one) for one in answers) else f"the last answers: {answers[-3:]}"

    wait.clear(obstacle, PATIENCE, f"{LOGIN} to answer")
