"""S11: The primary dies in the moment in which no standby is synchronous.

When the leader key vanishes from etcd, the primary takes it again, and until Patroni has chosen its
synchronous standby once more, commits wait for nobody. The trial deletes the key, writes rows, and
kills the primary at a random moment of that window, in every second round while the replica
receives nothing. Then the lease ends at once.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from salina.common import wait
from tests import fleets
from tests.lab.lab import run, shell
from tests.lab.tiers import DATABASES, cluster, leader, sql

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.proof]

TIMES = 100
LONGEST = 1.6
"""Seconds. The longest window that was seen with a replica that receives."""
PROMOTED = 12
"""Seconds in which a replica that may lead does so, after the lease has ended."""

DELETE = """
import json, subprocess, sys, time

given = json.loads(sys.stdin.readline())

def delete_leader_key():
    files = ["--cacert", "ca.crt", "--cert", "host.crt", "--key", "host.key"]
    body = json.dumps({"key": "L3NlcnZpY2Uvc2FsaW5hL2xlYWRlcg=="})  # /service/salina/leader
    command = ["curl", "-sSf", *files, "-d", body, given["url"]]
    subprocess.run(command, cwd="/etc/salina/tls", check=True, stdout=subprocess.DEVNULL)

delete_leader_key()
"""

TRIAL = (
    DELETE
    + """
psql = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1"]
session = subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
standby_names = "current_setting('synchronous_standby_names')"
insert = "INSERT INTO salina_window VALUES (%d) RETURNING " + standby_names + ";\\n"
rows, alone = [], 0

def write():
    '''Write a row, and return whether commits wait for nobody.'''
    global alone
    number = given["first"] + len(rows)
    session.stdin.write(insert % number)
    session.stdin.flush()
    standby = session.stdout.readline()
    if not standby:
        raise SystemExit("the session of the writer ended")
    rows.append(number)
    alone += standby == "\\n"
    return standby == "\\n"

end = time.monotonic() + 15
while not write():
    if time.monotonic() > end:
        raise SystemExit("no window within 15 s")
end = time.monotonic() + given["delay"]
while time.monotonic() < end:
    write()
subprocess.run(["systemctl", "kill", "--signal=KILL", "patroni"], check=True)
subprocess.run(["systemctl", "stop", "patroni"], check=True)
print(json.dumps({"rows": rows, "alone": alone}))
"""
)


def python(host: str, script: str, **given: Any) -> str:
    """Run a script on a host, and return what it prints."""
    voter = fleets.fleet().having("quorum")[0].addresses["data"]
    given["url"] = f"https://{voter}:2379/v3/kv/deleterange"
    return run(host, "python3", "-c", script, given=json.dumps(given) + "\n")


@pytest.fixture
def table() -> Iterator[None]:
    """The table of the rows, which is gone at the end."""
    sql(leader(), "DROP TABLE IF EXISTS salina_window; CREATE TABLE salina_window (n int)")
    yield
    for host in DATABASES:
        shell(host, "systemctl start patroni")
    sql(leader(), "DROP TABLE salina_window")


def leads(host: str) -> bool:
    """Return whether a host is the primary, as its own Patroni says."""
    return any((one["name"], one["role"]) == (host, "leader") for one in cluster(host))


@pytest.mark.usefixtures("table")
def test_s11_no_row_is_lost_without_a_synchronous_standby() -> None:
    """S11: Rows that were acknowledged without a standby survive the primary's death: the replica,
    which may not have them, waits for the old primary instead of leading.
    """
    outcomes: Counter[str] = Counter()
    alone = written = 0
    lost: list[int] = []
    for turn in range(TIMES):
        first = leader()
        (other,) = set(DATABASES) - {first}
        frozen = turn % 2 == 1
        receiver = shell(other, "pgrep -f '[w]alreceiver'").strip()
        if frozen:
            run(other, "kill", "-STOP", receiver)
        try:
            delay = random.uniform(0, LONGEST)
            found = json.loads(python(first, TRIAL, first=turn * 100_000, delay=delay))
        finally:
            if frozen:
                run(other, "kill", "-CONT", receiver, check=False)
        python(other, DELETE)
        promoted = wait.until(lambda host=other: leads(host), PROMOTED)
        outcomes[f"{'promoted' if promoted else 'waited'}{', frozen' if frozen else ''}"] += 1
        shell(first, "systemctl start patroni")
        kept = set(sql(leader(), "SELECT n FROM salina_window").split())
        lost += [number for number in found["rows"] if str(number) not in kept]
        written += len(found["rows"])
        alone += found["alone"]
        print(turn, first, dict(outcomes), f"{written} rows, {alone} alone, {len(lost)} lost")
    assert alone
    assert not lost
