"""The traffic in the lab while a test breaks it: a client's sessions, numbered writes, and a
watch over the database hosts. Each is a script on a host, with the standard library only.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lab.machines import topology_file
from salina.common import wait
from tests.lab.lab import LAB, live, run
from tests.lab.tiers import DATABASES, STORAGE, leader, secret, sql

FILESTORE = "/nas/crm/filestore/crm"

HEAD = """
import json, os, subprocess, sys, threading, time

given = json.loads(sys.stdin.readline())
stopped = threading.Event()

def wait_for_the_end():
    sys.stdin.read()
    stopped.set()

threading.Thread(target=wait_for_the_end, daemon=True).start()

def say(**what):
    sys.stdout.write(json.dumps(what) + "\\n")
    sys.stdout.flush()
"""

SESSION = """
import base64, hashlib, http.client, random, ssl, urllib.parse

tls = ssl.create_default_context(cadata=given["ca"])

class Session:
    '''A user who is logged in: a page, an upload, and one of the uploads back, again and again.'''

    def __init__(self, number):
        self.number, self.cookie, self.connection, self.files = number, "", None, {}

    def run(self):
        try:
            self.ask("login", self.log_in)
            while not stopped.wait(given["pause"]):
                self.ask("page", self.load)
                self.ask("upload", self.upload)
                if self.files:
                    self.ask("read", self.read)
        finally:
            stopped.set()

    def ask(self, kind, action):
        begun, fault, sha1 = time.time(), "", ""
        try:
            sha1 = action() or ""
        except Exception as error:  # whatever it is, it is what the user would have seen
            fault = str(error) or type(error).__name__
            self.connection = None
        say(session=self.number, kind=kind, retriable=kind in ("page", "read"), begun=begun,
            took=time.time() - begun, fault=fault, sha1=sha1)

    def send(self, method, path, body=None, content_type="application/json", wanted=200):
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(
                given["domain"], timeout=given["timeout"], context=tls)
        headers = {"Cookie": self.cookie} | ({"Content-Type": content_type} if body else {})
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status in (302, 303) and answer.status != wanted:
            raise Exception("logged out: sent to " + answer.headers["Location"])
        if answer.status != wanted:
            raise Exception(f"{method} {path}: HTTP {answer.status}")
        return answer.headers, content

    def keep(self, where, content):
        self.files[where] = hashlib.sha1(content).hexdigest()
        return self.files[where]

    def read(self):
        where, sha1 = random.choice(list(self.files.items()))
        if hashlib.sha1(self.send("GET", where)[1]).hexdigest() != sha1:
            raise Exception(f"{where}: not the bytes that were uploaded")
"""

ODOO = """
class User(Session):
    def call(self, path, **params):
        body = json.dumps({"jsonrpc": "2.0", "method": "call", "params": params})
        headers, content = self.send("POST", path, body)
        found = json.loads(content)
        if "error" in found:
            error = found["error"]
            logged_out = "logged out: " if error["code"] == 100 else ""
            raise Exception(f"{logged_out}{path}: {error['data'].get('message')}")
        return headers, found["result"]

    def model(self, name, method, *args):
        path = f"/web/dataset/call_kw/{name}/{method}"
        return self.call(path, model=name, method=method, args=args, kwargs={})[1]

    def log_in(self):
        headers, found = self.call("/web/session/authenticate", db=given["name"], login="admin",
                                   password=given["password"])
        self.cookie = headers["Set-Cookie"].split(";")[0]

    def load(self):
        if b"csrf_token" not in self.send("GET", "/web/login")[1]:
            raise Exception("GET /web/login: not the login page")

    def upload(self):
        content = os.urandom(30_000)
        name = {"name": "salina-traffic", "datas": base64.b64encode(content).decode()}
        number = self.model("ir.attachment", "create", name)
        return self.keep(f"/web/content/{number}?download=1", content)

    def leave(self):
        left = self.model("ir.attachment", "search", [["name", "=", "salina-traffic"]])
        self.model("ir.attachment", "unlink", left)
        # Odoo removes files once a day, and a storage host that comes back heals all there are
        named = [["module", "=", "base"], ["name", "=", "autovacuum_job"]]
        (vacuum,) = self.model("ir.model.data", "search_read", named, ["res_id"])
        self.model("ir.cron", "method_direct_trigger", [vacuum["res_id"]])

    def poll(self):
        if given["live"] == "/longpolling":
            self.call("/longpolling/poll", channels=[], last=0, options={})
        else:  # the page asks this before it opens its websocket, and gets an answer at once
            path = given["live"] + "/peek_notifications"
            self.call(path, channels=[], last=0, is_first_poll=True)
"""

SAMPLE = """
class User(Session):
    def log_in(self):
        form = urllib.parse.urlencode({"login": "admin", "password": given["password"]})
        kind = "application/x-www-form-urlencoded"
        headers, _ = self.send("POST", "/login", form, kind, wanted=302)
        self.cookie = headers["Set-Cookie"].split(";")[0]

    def load(self):
        if b'name="photo"' not in self.send("GET", "/")[1]:
            raise Exception("GET /: not the page with the photos")

    def upload(self):
        content, edge = os.urandom(30_000), "edge-of-a-part"
        head = 'Content-Disposition: form-data; name="photo"; filename="salina-traffic"'
        body = f"--{edge}\\r\\n{head}\\r\\n\\r\\n".encode() + content
        body += f"\\r\\n--{edge}--\\r\\n".encode()
        kind = f"multipart/form-data; boundary={edge}"
        headers, _ = self.send("POST", "/photos", body, kind, wanted=302)
        if not headers["Location"].startswith("/uploads/"):
            raise Exception("logged out: sent to " + headers["Location"])
        return self.keep(headers["Location"], content)

    def leave(self):
        pass
"""

SESSIONS = """
sessions = [User(number) for number in range(given["sessions"])]
threads = [threading.Thread(target=session.run) for session in sessions]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sessions[0].connection = None
sessions[0].leave()
"""

PAGES = """
user = User(-1)
user.ask("login", user.log_in)

def keep_open(number):
    page = User(number)
    page.cookie = user.cookie
    while not stopped.is_set():
        page.ask("poll", page.poll)

for number in range(given["pages"]):
    threading.Thread(target=keep_open, args=(number,), daemon=True).start()
stopped.wait()
"""

WRITES = """
os.environ["PGPASSWORD"] = given["password"]
psql = ["psql", "-XAtq", "host=127.0.0.1 port=6432 user=crm dbname=crm sslmode=disable", "-c"]
number = given["after"]
while not stopped.wait(0.1):
    number += 1
    before = "SELECT count(*) FROM salina_test.writes"
    insert = f"INSERT INTO salina_test.writes VALUES ({number}) RETURNING ({before})"
    done = subprocess.run([*psql, insert], capture_output=True, text=True)
    if done.returncode == 0:
        say(number=number, at=time.time(), rows=int(done.stdout))
"""

WATCH = """
import http.client, ssl

tls = ssl.create_default_context(cafile="/etc/salina/tls/ca.crt")
psql = ["runuser", "-u", "postgres", "--", "psql", "-XAtc", "SELECT pg_is_in_recovery()"]

def leads():
    connection = http.client.HTTPSConnection(given["address"], 8008, timeout=2, context=tls)
    try:
        connection.request("GET", "/primary")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()

while not stopped.wait(0.25):
    at = time.time()
    writable = subprocess.run(psql, capture_output=True).stdout == b"f\\n"
    say(at=at, leads=leads(), writable=writable)
"""


class Background:
    """A script that runs on a host until this is left; what it says is there at any time."""

    def __init__(self, host: str, script: str, **given: Any) -> None:
        self.host = host
        self.folder = tempfile.TemporaryDirectory()  # a pipe would have to be read all the time
        self.said, self.errors = (Path(self.folder.name, name) for name in ("said", "errors"))
        with self.said.open("w") as said, self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [LAB, "exec", host, "--", "python3", "-c", HEAD + script],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=errors,
                text=True,
            )
        assert self.process.stdin
        self.process.stdin.write(json.dumps(given) + "\n")
        self.process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def lines(self) -> list[dict[str, Any]]:
        """Return the script's output so far."""
        lines = self.said.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def end(self) -> None:
        """End the script. It may have ended already, with its host."""
        assert self.process.stdin
        if self.process.poll() is None:
            self.process.stdin.close()
        try:
            code = self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the script on {self.host} does not end") from None
        told = f"the script on {self.host} ended with {code}: {self.errors.read_text()}"
        assert code in (0, 137), told


@dataclass(frozen=True)
class Request:
    """One request of a session, and what the user saw."""

    session: int
    kind: str
    retriable: bool
    begun: float
    took: float
    fault: str
    sha1: str


class User(Background):
    """Somebody beyond the firewall who is logged in, and trusts the fleet's CA and `trusted`."""

    def __init__(
        self,
        script: str,
        timeout: float = 90,
        user: str = ODOO,
        name: str = "crm",
        trusted: str = "",
        **given: Any,
    ) -> None:
        super().__init__(
            "c1",
            SESSION + user + script,
            ca=run("s1", "cat", "/etc/salina/tls/ca.crt") + trusted,
            name=name,
            domain=topology_file.read().applications[name].domain,
            live=live(name),
            password=secret(f"app-{name}-login"),
            timeout=timeout,
            **given,
        )

    def requests(self) -> list[Request]:
        """All requests that have ended."""
        return [Request(**line) for line in self.lines()]

    def failed(self) -> list[str]:
        """A line for each request that failed."""
        return [
            f"{time.strftime('%T', time.localtime(each.begun))} {each.kind} after "
            f"{each.took:.1f} s: {each.fault}"
            for each in self.requests()
            if each.fault
        ]


class Pages(User):
    """Pages that stay open: each has a long poll under way, and begins the next when one ends."""

    def __init__(self, pages: int) -> None:
        super().__init__(PAGES, pages=pages)


class Traffic(User):
    """Sessions of a client beyond the firewall: pages, uploads, and the uploads read back."""

    ROUND = ("page", "upload", "read")

    def __init__(
        self,
        sessions: int = 4,
        timeout: float = 90,
        user: str = ODOO,
        name: str = "crm",
        trusted: str = "",
    ) -> None:
        self.sessions = sessions
        super().__init__(SESSIONS, timeout, user, name, trusted, sessions=sessions, pause=0.5)

    def uploads(self) -> set[str]:
        """The checksums of what was uploaded."""
        return {each.sha1 for each in self.requests() if each.kind == "upload"} - {""}

    def obstacle(self, since: float) -> str:
        """Say which session has not had a whole round of good requests since, or ""."""
        assert self.process.poll() is None, f"the traffic ended: {self.failed()[-4:]}"
        good = {
            (each.session, each.kind)
            for each in self.requests()
            if each.begun > since and not each.fault
        }
        lacking = {
            session
            for session in range(self.sessions)
            for kind in self.ROUND
            if (session, kind) not in good
        }
        return f"no whole round of sessions {sorted(lacking)}" if lacking else ""


def bricks_differ(names: set[str]) -> list[str]:
    """Which uploads are not on every brick with the bytes that were sent.

    A file's name in the filestore is its checksum.
    """
    paths = "".join(f"{name[:2]}/{name}\n" for name in sorted(names))
    wrong = []
    for host in STORAGE:
        sums = run(host, "sh", "-c", f"cd {FILESTORE} && xargs sha1sum", given=paths, check=False)
        good = {line.split()[0] for line in sums.splitlines() if line.split()[0] in line.split()[1]}
        wrong += [f"{host}: {name}" for name in sorted(names - good)]
    return wrong


class Writer(Background):
    """Numbered writes of an app host, on the way that its application goes.

    Each one counts the rows that were there before, so that one which vanishes for a while is seen.
    """

    def __init__(self, host: str = "s1") -> None:
        self.before: list[dict[str, Any]] = []
        sql(
            leader(),
            "DROP SCHEMA IF EXISTS salina_test CASCADE;"
            "CREATE SCHEMA salina_test AUTHORIZATION crm; SET ROLE crm;"
            "CREATE TABLE salina_test.writes (number integer PRIMARY KEY)",
            "crm",
        )
        self.start(host, 0)

    def start(self, host: str, after: int) -> None:
        super().__init__(host, WRITES, password=secret("app-crm-database"), after=after)

    def again(self, host: str = "") -> None:
        """Go on after the host was away, or on another one."""
        self.end()
        self.before = self.lines()
        self.start(host or self.host, max(line["number"] for line in self.before))

    def __exit__(self, *_: object) -> None:
        self.end()
        sql(leader(), "DROP SCHEMA salina_test CASCADE", "crm")

    def lines(self) -> list[dict[str, Any]]:
        """The acknowledged writes: number, time, and the rows that were there before."""
        return self.before + super().lines()

    def obstacle(self, since: float) -> str:
        """Say that no write was acknowledged since, or ""."""
        return "" if any(line["at"] > since for line in self.lines()) else "no acknowledged write"

    def gap(self) -> float:
        """The longest time between two acknowledged writes."""
        times = [float(line["at"]) for line in self.lines()]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def missing(self) -> set[int]:
        """Those of the acknowledged writes that one of the database hosts does not have."""
        leader()
        acknowledged = {int(line["number"]) for line in self.lines()}
        assert acknowledged, "no write was acknowledged"
        rows = self.tables().values()
        return {number for number in acknowledged if not all(number in each for each in rows)}

    def tables(self) -> dict[str, list[int]]:
        """The rows that each database host has."""
        select = "SELECT number FROM salina_test.writes"
        return {host: [*map(int, sql(host, select, "crm").split())] for host in DATABASES}


class Watch(Background):
    """A database host, sampled by itself: does it lead (Patroni), does it take writes."""

    def __init__(self, host: str) -> None:
        super().__init__(host, WATCH, address=DATABASES[host])

    def obstacle(self, since: float) -> str:
        """Say that there is no sample since, or ""."""
        sampled = any(line["at"] > since for line in self.lines())
        return "" if sampled else f"no sample of {self.host}"


SILENCE = 5.0
"""Seconds without a sample after which a host was frozen: then it neither led nor took writes."""


def reigns(samples: Iterable[dict[str, Any]], what: str) -> list[tuple[float, float]]:
    """The times from the first to the last of consecutive samples that say so."""
    found: list[tuple[float, float]] = []
    ongoing = False
    for sample in samples:
        at = float(sample["at"])
        if not sample[what]:
            ongoing = False
        elif found and ongoing and at - found[-1][1] < SILENCE:
            found[-1] = (found[-1][0], at)
        else:
            found.append((at, at))
            ongoing = True
    return found


def overlap(one: Iterable[tuple[float, float]], other: Iterable[tuple[float, float]]) -> float:
    """For how many seconds both were so."""
    pairs = itertools.product(one, list(other))
    return sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a, b in pairs)


def wait_for(parts: Iterable[Traffic | Writer | Watch], seconds: float) -> float:
    """Wait until all that goes on has succeeded from now on; how long it took."""
    since = time.time()
    running = list(parts)
    wait.clear(
        lambda: "; ".join(filter(None, (part.obstacle(since) for part in running))),
        seconds,
        "the traffic to go on",
    )
    return time.time() - since
