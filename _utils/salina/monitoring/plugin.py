"""The plugin of Nagios: it asks a host for all of its results, or an application as a client does.

The services of a host are passive, all but one: the plugin asks the host once, gives Nagios the
result of each service, and is itself the check of the service `report`. It uses the standard
library only, and imports the larger parts where they are needed, since it starts often.

CLI: python3 -m salina.monitoring.plugin host NAME        whether the host is there
     python3 -m salina.monitoring.plugin report NAME LAST     its report, and the results in it
     python3 -m salina.monitoring.plugin client NAME      an application, as its clients see it
     python3 -m salina.monitoring.plugin use NAME         what its clients do there
     python3 -m salina.monitoring.plugin tier SPARE STATES…   whether enough hosts do their work
LAST: when the report was critical for the last time, in seconds since the epoch
STATES: for each host of a tier, the states of its services: 0,0,2
"""

from __future__ import annotations

import base64
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import ssl
    from http.client import HTTPConnection

CONFIGURATION = Path("/etc/nagios4/salina.json")
USERS = Path("/etc/nagios4/users.json")
"""The passwords with which it logs in at applications."""
COMMANDS = "/run/nagios4/nagios.cmd"
TLS = "/etc/salina/tls"
OK, WARNING, CRITICAL, UNKNOWN = range(4)
"""The states of a service, which are also the exit codes of a plugin."""
REPORT = "report"
"""The service that says whether a host's results arrive."""
SHARED = "shared"
"""The service that says where the addresses are which the host shares with another one."""
CONNECT, ANSWER = 5.0, 15.0
"""Seconds for a connection, and for each part of an answer. A host's checks take 5 seconds."""
MOST = 2**20
"""The most bytes of a report."""
WORDS = 1000
"""The most characters of a result. The kernel writes a line of up to 4096 bytes as a whole."""
CLOCK = 2.0
"""Seconds by which a host's clock may differ from this host's."""
SETTLING = 300.0
"""Seconds after a host's return in which others may still see that it was away."""
TURN = 900.0
"""Seconds of a turn in which a host's faults are expected. A longer one is a fault itself."""
DAY = 86_400


class Result(NamedTuple):
    """The state of a service, and a few words."""

    service: str
    state: int
    words: str


NO_HOST = "closed, because its pool has no members"
"""The state of an application that an operator has scaled to nothing."""


class NoReport(Exception):
    """A host gives no report, and why."""


def reachable(address: str, port: int) -> tuple[int, str]:
    """Return whether a host is there. Its kernel answers even if no daemon listens.

    Args:
        address: its address.
        port: the port of its report, which its firewall opens.
    """
    try:
        socket.create_connection((address, port), CONNECT).close()
    except ConnectionRefusedError:
        return OK, "it answers, and gives no report"
    except OSError as error:
        return CRITICAL, f"no answer: {error}"
    return OK, "it answers"


def fetch(name: str, address: str, port: int) -> dict[str, Any]:
    """Return a host's report. Both sides prove who they are.

    Args:
        name: the host's id, which its certificate names.
        address: its address.
        port: the port of its report.

    Raises:
        NoReport: there is none.
    """
    import ssl

    context = ssl.create_default_context(cafile=f"{TLS}/ca.crt")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(f"{TLS}/monitoring.crt", f"{TLS}/monitoring.key")
        with (
            socket.create_connection((address, port), CONNECT) as connection,
            context.wrap_socket(connection, server_hostname=name) as secure,
        ):
            secure.settimeout(ANSWER)
            return dict(json.loads(_all(secure)))
    except OSError as error:
        raise NoReport(f"no report: {error}") from None
    except (ValueError, TypeError):
        raise NoReport("the report is not complete; see journalctl -u 'salina-report*'") from None


def _all(connection: ssl.SSLSocket) -> bytes:
    """Return everything that the other side sends, up to the most bytes of a report."""
    parts, size = [], 0
    while size <= MOST and (part := connection.recv(65536)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def results(
    report: Mapping[str, Sequence[Sequence[Any]]], expected: Mapping[str, Sequence[str]]
) -> Iterator[Result]:
    """Yield the result of each service of a host.

    Args:
        report: the name of a check -> its findings, as salina.health.probes gives them.
        expected: the name of a check -> the findings that are services of their own, since they
            depend on other hosts.
    """
    for check, apart in expected.items():
        if check not in report:
            words = "the host does not make this check; apply its states"
            yield Result(check, UNKNOWN, words)
            continue
        own = [one for one in report[check] if one[0] not in apart or one[0] == check]
        judged = judge(check, own)
        yield judged
        for name in apart:
            found = [one for one in report[check] if one[0] == name]
            if name != check and (found or judged.state != CRITICAL):  # unknown in a failed check
                yield judge(name, found)


def judge(service: str, findings: Sequence[Sequence[Any]]) -> Result:
    """Return the result of a service: faults are first, then notices, which are warnings.

    Args:
        service: its name.
        findings: its findings: the subject, whether it is good, further words, and perhaps true
            for a notice.
    """
    states = [
        CRITICAL if not one[1] else WARNING if len(one) > 3 and one[3] else OK for one in findings
    ]
    state = max(states, default=OK)
    shown = [
        f"{one[0]}: {one[2] or 'good' if one[1] else one[2] or 'not good'}"
        for one, its in zip(findings, states, strict=True)
        if its == state
    ]
    return Result(service, state, "; ".join(shown) or "nothing to look at on this host now")


def expected_now(found: Sequence[Result], words: str) -> list[Result]:
    """Return results whose faults are warnings, since the host restarts something in its turn.

    Args:
        found: the results.
        words: why they are expected.
    """
    return [
        one._replace(state=WARNING, words=f"{words}: {one.words}") if one.state == CRITICAL else one
        for one in found
    ]


def apart(
    name: str, checks: Mapping[str, Any], partner: str, configuration: Mapping[str, Any]
) -> str:
    """Return why the two hosts of a pair do not agree who has the shared addresses, or "".

    Each of them says only where they are for itself. So the partner is asked at the same time.

    Args:
        name: the host's id.
        checks: its report.
        partner: the id of its partner. One without a report has an alarm of its own.
        configuration: the plugin's own.
    """
    try:
        other = fetch(partner, configuration["hosts"][partner]["address"], configuration["port"])
        [(_, good, words)], [(_, *its)] = checks[SHARED], other["checks"][SHARED]
    except (NoReport, KeyError, TypeError, ValueError):
        return ""
    if not good or its != [good, words]:
        return ""
    return f"{name} and {partner} both say: {words}; see journalctl -u keepalived on both"


def drift(shown: float, asked: float, answered: float) -> float:
    """Return by how many seconds a clock differs from this host's, at the least.

    Args:
        shown: the time of the clock.
        asked: this host's time at the question.
        answered: this host's time at the answer.
    """
    return max(shown - answered, asked - shown, 0.0)


def submit(host: str, found: Sequence[Result], now: float) -> None:
    """Give Nagios the results of a host's services.

    Args:
        host: the host.
        found: the results.
        now: the time.

    Raises:
        OSError: Nagios does not read its commands.
    """
    pipe = os.open(COMMANDS, os.O_WRONLY | os.O_NONBLOCK)
    try:
        for one in found:
            words = " ".join(one.words.split())[:WORDS]
            result = f"{host};{one.service};{one.state};{words}"
            line = f"[{now:.0f}] PROCESS_SERVICE_CHECK_RESULT;{result}\n"
            os.write(pipe, line.encode(errors="replace"))
    finally:
        os.close(pipe)


def report(name: str, last: float, configuration: Mapping[str, Any]) -> tuple[int, str]:
    """Ask a host, give Nagios the results, and return the state of the host's report.

    It is a warning for some minutes after the host has returned, in which its peers heal files or
    connect again, and while the host has its turn. Their findings stay silent meanwhile.

    Args:
        name: the host's id.
        last: when its report was critical for the last time, in seconds since the epoch.
        configuration: the plugin's own.
    """
    host, asked = configuration["hosts"][name], time.time()
    try:
        told = fetch(name, host["address"], configuration["port"])
        found = list(results(told["checks"], host["checks"]))
        away = drift(told["clock"], asked, time.time())
        if (partner := host.get("partner")) and (
            fault := apart(name, told["checks"], partner, configuration)
        ):
            judged = Result(SHARED, CRITICAL, fault)
            found = [judged if one.service == SHARED else one for one in found]
        turn, words = told.get("turn"), ""
        if turn and 0 <= turn["seconds"] < TURN:
            words = f"in its turn for {turn['seconds']:.0f} s ({turn['what']})"
            found = expected_now(found, words)
    except NoReport as error:
        return CRITICAL, str(error)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return CRITICAL, "the report has another form; apply the states of the host"
    try:
        submit(name, found, asked)
    except OSError as error:
        return UNKNOWN, f"Nagios does not take the results: {error}"
    if away > CLOCK:
        return CRITICAL, f"its clock differs by {away:.0f} s; set the time, see `timedatectl`"
    if words:
        return WARNING, words
    if asked - last < SETTLING:
        return WARNING, f"it is back for {asked - last:.0f} s, so others may still have faults"
    bad = sum(one.state == CRITICAL for one in found)
    return OK, f"{len(found)} results, {bad} of them critical, after {time.time() - asked:.1f} s"


def client(name: str, configuration: Mapping[str, Any]) -> tuple[int, str]:
    """Ask an application at its published address, and judge its answer and its certificate.

    Args:
        name: the application's name.
        configuration: the plugin's own.
    """
    from http.client import OK as SERVED
    from http.client import SERVICE_UNAVAILABLE as CLOSED
    from http.client import HTTPException

    asked = configuration["clients"][name]
    begin = time.time()
    try:
        keys = ("address", "port", "tls", "ca", "domain", "path", "cookie")
        status, left = answer(**{key: asked[key] for key in keys})
    except (OSError, HTTPException) as error:
        return CRITICAL, f"no answer: {error}"
    words = f"HTTP {status} after {time.time() - begin:.1f} s"
    if left is not None:
        words += f", the certificate is valid for {left / DAY:.0f} days"
    valid = left is None or left >= configuration["least"]
    if asked.get("closed") and status == CLOSED and valid:
        return WARNING, f"{NO_HOST}: {words}"
    return OK if status == SERVED and valid else CRITICAL, words


def answer(
    address: str, port: int, tls: bool, ca: str | None, domain: str, path: str, cookie: str | None
) -> tuple[int, float | None]:
    """Return the status of an application's answer, and the seconds of its certificate.

    Args:
        address: the published address.
        port: the published port.
        tls: whether clients use HTTPS; otherwise there is no certificate.
        ca: the file of the CA that has signed the certificate; None for those that Debian trusts.
        domain: the name by which clients call the application.
        path: the path to ask for.
        cookie: a cookie to send, or None.

    Raises:
        OSError: there is no answer, or the certificate is not valid.
        HTTPException: the answer is not HTTP.
    """
    import ssl

    left = None
    connection = connected(address, port, tls, ca, domain)
    try:
        if tls:
            secure: Any = connection.sock
            left = ssl.cert_time_to_seconds(secure.getpeercert()["notAfter"]) - time.time()
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        return connection.getresponse().status, left
    finally:
        connection.close()


def connected(address: str, port: int, tls: bool, ca: str | None, domain: str) -> HTTPConnection:
    """Return a connection to an application, as `answer` makes it.

    Args:
        address: as in `answer`.
        port: as in `answer`.
        tls: as in `answer`.
        ca: as in `answer`.
        domain: as in `answer`.

    Raises:
        OSError: there is no connection, or the certificate is not valid.
    """
    import ssl
    from http.client import HTTPConnection

    connection = HTTPConnection(domain, port, timeout=ANSWER)
    connection.sock = socket.create_connection((address, port), CONNECT)
    if tls:
        context = ssl.create_default_context(cafile=ca)
        connection.sock = context.wrap_socket(connection.sock, server_hostname=domain)
    connection.sock.settimeout(ANSWER)
    return connection


class Refused(Exception):
    """A client cannot do something in an application, and why."""


class Client:
    """A client of an application: each request may reach another host, with the same session."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        """Take how the application is asked: the plugin's own."""
        keys = ("address", "port", "tls", "ca", "domain")
        self.way = {key: asked[key] for key in keys}
        self.cookies: dict[str, str] = {}

    def request(self, path: str, content: Any = None) -> bytes:
        """Return the body of an answer.

        Args:
            path: the path.
            content: what to send as JSON; None for a request that only reads.

        Raises:
            Refused: the answer is an error.
            OSError: there is no answer.
            HTTPException: the answer is not HTTP.
        """
        from http.cookies import SimpleCookie

        headers = {"Cookie": "; ".join(f"{key}={value}" for key, value in self.cookies.items())}
        body, method = None, "GET"
        if content is not None:
            body, method = json.dumps(content), "POST"
            headers["Content-Type"] = "application/json"
        connection = connected(**self.way)
        try:
            connection.request(method, path, body, headers)
            found = connection.getresponse()
            told = found.read(MOST)
            for line in found.headers.get_all("Set-Cookie", []):
                self.cookies |= {key: one.value for key, one in SimpleCookie(line).items()}
        finally:
            connection.close()
        if found.status >= 400:
            raise Refused(f"{path}: HTTP {found.status}")
        return told

    def call(self, path: str, **params: Any) -> Any:
        """Return the result of a call of Odoo (JSON-RPC).

        Raises:
            Refused: Odoo refuses it.
            OSError: there is no answer.
            HTTPException: the answer is not HTTP.
        """
        told = json.loads(
            self.request(path, {"jsonrpc": "2.0", "method": "call", "params": params})
        )
        if "error" in told:
            words = told["error"].get("data", {}).get("message") or told["error"].get("message")
            raise Refused(f"{path}: {words}")
        return told.get("result")

    def model(self, name: str, method: str, *args: Any) -> Any:
        """Return the result of a method of a model of Odoo."""
        path = f"/web/dataset/call_kw/{name}/{method}"
        return self.call(path, model=name, method=method, args=list(args), kwargs={})


def use(name: str, configuration: Mapping[str, Any], now: float) -> tuple[int, str]:
    """Do what a client does in an application, and judge whether it works.

    Args:
        name: the application's name.
        configuration: the plugin's own.
        now: the time.
    """
    from http.client import HTTPException

    asked, begin = configuration["clients"][name], time.time()
    if asked.get("closed"):
        return WARNING, NO_HOST
    client = Client(asked)
    try:
        if asked["user"]:
            words = keep(client, name, asked["user"], USERS.read_text(), now)
        else:
            words = visit(client, asked["pages"])
    except Refused as error:
        return CRITICAL, str(error)
    except (OSError, HTTPException) as error:
        return CRITICAL, f"no answer: {error}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return CRITICAL, f"an answer of another form: {error!r}"
    return OK, f"{words}, in {time.time() - begin:.1f} s"


def visit(client: Client, pages: Sequence[str]) -> str:
    """Ask for pages, and return how many there are in words.

    Args:
        client: the client.
        pages: their paths.
    """
    for page in pages:
        client.request(page)
    return f"{len(pages)} pages"


def keep(client: Client, database: str, user: str, passwords: str, now: float) -> str:
    """Log in at Odoo, write an attachment, read it back, log out, and return that in words.

    There is one attachment, which is overwritten. It has other content each hour, because each
    content is a file that Odoo keeps for weeks after its end (salt/odoo/held.sls).

    Args:
        client: the client.
        database: the database's name.
        user: the user.
        passwords: the application -> the user's password, as JSON.
        now: the time.

    Raises:
        Refused: something of it does not work.
    """
    password = json.loads(passwords)[database]
    session = client.call("/web/session/authenticate", db=database, login=user, password=password)
    if not session or not session.get("uid"):
        raise Refused(f"{user} cannot log in")
    content = time.strftime("Salina %Y-%m-%dT%H", time.gmtime(now)).encode()
    values = {"name": user, "datas": base64.b64encode(content).decode()}
    own = [["name", "=", user], ["create_uid", "=", session["uid"]]]
    found = client.model("ir.attachment", "search", own)
    if found:
        number = found[0]
        client.model("ir.attachment", "write", [number], values)
    else:
        number = client.model("ir.attachment", "create", values)
    if client.request(f"/web/content/{number}?download=1") != content:
        raise Refused("the attachment does not have the content that was just written")
    client.call("/web/session/destroy")
    return "logged in, wrote an attachment and read it back"


def tier(spare: int, hosts: Sequence[str]) -> tuple[int, str]:
    """Return whether enough hosts do the work of a role.

    Args:
        spare: how many of them may have a fault.
        hosts: for each host, the states of its services, separated by commas.
    """
    bad = sum(bool({str(CRITICAL), str(UNKNOWN)} & {*states.split(",")}) for states in hosts)
    words = f"{len(hosts) - bad} of {len(hosts)} do their work, {len(hosts) - spare} are needed"
    return OK if bad <= spare else CRITICAL, words


def main(question: str, name: str, *more: str) -> tuple[int, str]:
    """Return the state that the exit code says, and the words for Nagios."""
    if question == "tier":
        return tier(int(name), more)
    configuration = json.loads(CONFIGURATION.read_text())
    if question == "report":
        return report(name, float(more[0]), configuration)
    if question == "client":
        return client(name, configuration)
    if question == "use":
        return use(name, configuration, time.time())
    return reachable(configuration["hosts"][name]["address"], configuration["port"])


if __name__ == "__main__":
    code, text = main(*sys.argv[1:])
    print(text.replace("\n", " "))
    sys.exit(code)
