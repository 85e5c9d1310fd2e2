"""S11: The primary dies in the moment in which no standby is synchronous.

When the leader key vanishes from etcd, the primary takes it again, and the replica begins to stream
once more. If the primary looks for its synchronous standby in between, it finds none, and commits
wait for nobody until it looks again. The trial deletes the key until this happens, writes rows, and
kills the primary at a random moment of that window. In every second round the replica is frozen
instead, so it has none of these rows. Then the lease ends at once.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from salina.common import wait
from tests import fleets
from tests.lab.lab import run, shell
from tests.lab.tiers import DATABASES, cluster, leader, secret, sql

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.proof]

TIMES = 100
LONGEST = 1.6
"""Seconds. The longest window that was seen with a replica that receives."""
PROMOTED = 6
"""Seconds in which a replica that may lead does so, after the lease has ended: several rounds of
Patroni.
"""

KEY = """
import json, ssl, subprocess, sys, time, urllib.request

given = json.loads(sys.stdin.readline())
tls = ssl.create_default_context(cafile="/etc/salina/tls/ca.crt")
tls.load_cert_chain("/etc/salina/tls/host.crt", "/etc/salina/tls/host.key")

def ask(path, body, **headers):
    url, data = f"{given['url']}/{path}", json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    return json.load(urllib.request.urlopen(request, timeout=10, context=tls))

def delete_leader_key():
    token = ask("auth/authenticate", given["login"])["token"]
    key = "L3NlcnZpY2Uvc2FsaW5hL2xlYWRlcg=="  # /service/salina/leader
    ask("kv/deleterange", {"key": key}, Authorization=token)

"""

TRIAL = (
    KEY
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

begun, deleted = time.monotonic(), 0.0
while not write() and given["delay"] is not None:
    now = time.monotonic()
    if now - begun > 90:
        raise SystemExit("no window within 90 s")
    if now - deleted > 2:
        delete_leader_key()
        deleted = now
end = time.monotonic() + (given["delay"] or 0)
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
    given["url"] = f"https://{voter}:2379/v3"
    given["login"] = {"name": "patroni", "password": secret("etcd-patroni")}
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


class Rounds:
    """The rounds of the trial, and what they came to."""

    def __init__(self) -> None:
        self.written = self.alone = 0
        self.lost: list[int] = []

    def kill(self, number: int, delay: float | None, *, frozen: bool = False) -> bool:
        """Kill the primary, and return whether the replica leads then.

        Args:
            number: the round's number.
            delay: seconds after the beginning of the window, or None to kill it without a window.
            frozen: whether the replica receives nothing meanwhile.
        """
        first = leader()
        (other,) = set(DATABASES) - {first}
        receiver = shell(other, "pgrep -f '[w]alreceiver'").strip()
        if frozen:
            run(other, "kill", "-STOP", receiver)
        try:
            found = json.loads(python(first, TRIAL, first=number * 100_000, delay=delay))
        finally:
            if frozen:
                run(other, "kill", "-CONT", receiver, check=False)
        python(other, KEY + "delete_leader_key()")
        promoted = wait.until(lambda: leads(other), PROMOTED)
        shell(first, "systemctl start patroni")
        kept = set(sql(leader(), "SELECT n FROM salina_window").split())
        self.lost += [row for row in found["rows"] if str(row) not in kept]
        self.written += len(found["rows"])
        self.alone += found["alone"]
        return bool(promoted)


@pytest.mark.usefixtures("table")
def test_s11_no_row_is_lost_without_a_synchronous_standby() -> None:
    """S11: Rows that were acknowledged without a standby survive the primary's death: the replica,
    which may not have them, waits for the old primary instead of leading.
    """
    rounds = Rounds()
    assert rounds.kill(0, None), "a synchronous replica takes over"
    led = 0
    for number in range(1, TIMES + 1):
        led += rounds.kill(number, random.uniform(0, LONGEST), frozen=number % 2 == 0)
        print(
            f"killed {number} times without a synchronous standby: the replica led {led} times; "
            f"{rounds.written} rows, {rounds.alone} of them without it, {len(rounds.lost)} lost"
        )
    assert rounds.alone
    assert not rounds.lost
