"""The health of one host. It runs on the host itself, by plain Python, without Salt or the lab.

CLI: python3 - CHECKS < lab/commands/probe.py     prints a list of [what, good, detail], as JSON
CHECKS: a JSON list of [name of a function below, its arguments], as the roles' files give them;
        the checks of EVERY_HOST are made first
"""

import csv
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Check = tuple[str, bool, str]

TLS = "/etc/salina/tls"
HAPROXY = "/run/haproxy/admin.sock"
WAIT = 5


def command(*argv: str) -> str:
    """Return what a command prints.

    Raises:
        OSError: the command is not installed, fails, or does not end.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=3 * WAIT, check=False)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{argv[0]} does not end") from error
    if done.returncode:
        raise OSError((done.stderr or done.stdout).strip() or f"exit code {done.returncode}")
    return done.stdout


def get(
    address: str, port: int, path: str, headers: Mapping[str, str] | None = None, tls: bool = False
) -> tuple[int, str]:
    """Return status and body of a request; with TLS both sides show certificates of the CA.

    Raises:
        OSError: there is no answer.
    """
    if tls:
        context = ssl.create_default_context(cafile=f"{TLS}/ca.crt")
        context.load_cert_chain(f"{TLS}/host.crt", f"{TLS}/host.key")
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            address, port, timeout=WAIT, context=context
        )
    else:
        connection = http.client.HTTPConnection(address, port, timeout=WAIT)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP: {error!r}") from error
    finally:
        connection.close()


def system() -> Iterator[Check]:
    """No unit of systemd has failed."""
    lines = command("systemctl", "list-units", "--failed", "--plain", "--no-legend").splitlines()
    failed = " ".join(line.split()[0] for line in lines)
    yield "units", not failed, f"failed: {failed}" if failed else ""


def firewall() -> Iterator[Check]:
    """The host's own packet filter is on."""
    state = command("ufw", "status").partition("\n")[0].removeprefix("Status: ")
    yield "ufw", state == "active", state


def gluster_xml(*argv: str) -> ElementTree.Element:
    """Return the answer of GlusterFS's command line."""
    return ElementTree.fromstring(command("gluster", "--mode=script", "--xml", *argv))


def gluster() -> Iterator[Check]:
    """All peers are connected; each volume is started, and no replica of it waits for being healed.

    Below one percent of its disk a brick takes no more writes.
    """
    peers = [peer.findtext("connected") for peer in gluster_xml("peer", "status").iter("peer")]
    away = len([peer for peer in peers if peer != "1"])
    yield "peers", not away, f"{len(peers) - away} of {len(peers)} connected"
    volumes = gluster_xml("volume", "info").findall(".//volume")
    if not volumes:
        yield "volume", False, "none"
    for volume in volumes:
        name, state = volume.findtext("name") or "", volume.findtext("statusStr") or ""
        yield f"volume {name}", state == "Started", state.lower()
        if state == "Started" and volume.findtext("replicaCount") != "1":
            yield heal(name)
        for brick in volume.iter("brick"):
            host, _, path = (brick.findtext("name") or "").partition(":")
            if host == socket.gethostname():
                disk = shutil.disk_usage(path)
                share = disk.free * 100 // disk.total
                yield f"brick {path}", share > 0, f"{share} % free"


def heal(volume: str) -> Check:
    """All bricks are there and alike."""
    bricks = gluster_xml("volume", "heal", volume, "info").findall(".//brick")
    away = [brick for brick in bricks if brick.findtext("status") != "Connected"]
    counts = [brick.findtext("numberOfEntries") or "" for brick in bricks]
    waiting = sum(int(count) for count in counts if count.isdigit())
    detail = f"{len(bricks) - len(away)} of {len(bricks)} bricks, {waiting} entries to heal"
    return "heal", not away and not waiting, detail


def etcd(address: str, port: str) -> Iterator[Check]:
    """The member of etcd answers, and the cluster has a leader."""
    status, body = get(address, int(port), "/health", tls=True)
    yield "etcd", status == 200, "healthy" if status == 200 else body.strip()[:80]


def patroni(address: str, port: str, maximum_lag: str, standby: str) -> Iterator[Check]:
    """The member leads or streams, one member leads, and one other has every commit.

    Args:
        address: the address of Patroni's REST interface.
        port: its port.
        maximum_lag: the bytes that a replica may be behind.
        standby: "synchronous" if the primary must have a synchronous standby.
    """
    status, body = get(address, int(port), "/cluster", tls=True)
    if status != 200:
        yield "patroni", False, f"HTTP {status}"
        return
    yield from cluster(
        json.loads(body)["members"], socket.gethostname(), int(maximum_lag), bool(standby)
    )


def cluster(
    members: list[dict[str, Any]], here: str, maximum_lag: int, synchronous: bool
) -> Iterator[Check]:
    """Judge the members of the database cluster, as the host `here` sees them."""
    mine = next((member for member in members if member["name"] == here), None)
    leaders = [member["name"] for member in members if member["role"] == "leader"]
    state = f"{mine['role']} {mine['state']}" if mine else "not a member"
    if mine and mine.get("lag"):
        state += f", lag {mine['lag']} bytes"
    lag = mine.get("lag") if mine else None
    near = not isinstance(lag, int) or lag <= maximum_lag
    # a replica that is only "running" gets nothing from the primary
    wanted = "running" if here in leaders else "streaming"
    good = mine is not None and mine["state"] == wanted and near and bool(leaders)
    yield "patroni", good, state if leaders else f"{state}, there is no leader"
    if synchronous and here in leaders:
        found = [
            one["name"] for one in members if one["role"] in ("sync_standby", "quorum_standby")
        ]
        missing = "none, so the primary alone stores new commits"
        yield "synchronous standby", bool(found), " ".join(found) or missing


def haproxy() -> Iterator[Check]:
    """The balancer's backends have all of their servers, the way to the database has one."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(WAIT)
        connection.connect(HAPROXY)
        connection.sendall(b"show stat\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    yield from backends(text)


def backends(text: str) -> Iterator[Check]:
    """Judge HAProxy's statistics: all servers have to be up, of the databases the primary.

    Args:
        text: CSV, as `show stat` prints it.
    """
    servers: dict[str, list[bool]] = {}
    for row in csv.DictReader(text.removeprefix("# ").splitlines()):
        if row["svname"] not in ("FRONTEND", "BACKEND"):
            servers.setdefault(row["pxname"], []).append(row["status"].startswith("UP"))
    for name, up in servers.items():
        good = any(up) if name == "database" else all(up)
        yield f"haproxy {name}", good, f"{sum(up)} of {len(up)} up"


def mount() -> Iterator[Check]:
    """The shared volume is mounted."""
    with open("/proc/mounts") as mounts:
        mounted = [line.split()[1] for line in mounts if " fuse.glusterfs " in line]
    yield "files", bool(mounted), " ".join(mounted) or "not mounted"


def application(address: str, port: str, domain: str, path: str, cookie: str) -> Iterator[Check]:
    """The application answers through its nginx."""
    headers = {"Host": domain, **({"Cookie": cookie} if cookie else {})}
    status, _ = get(address, int(port), path, headers)
    yield "app", status == 200, f"HTTP {status}"


def unit(name: str) -> Iterator[Check]:
    """A unit of systemd is active."""
    done = subprocess.run(
        ["systemctl", "is-active", name], capture_output=True, text=True, timeout=WAIT, check=False
    )
    state = done.stdout.strip()
    yield name, state == "active", state


CHECKS: Mapping[str, Callable[..., Iterator[Check]]] = {
    check.__name__: check
    for check in (system, firewall, gluster, etcd, patroni, haproxy, mount, application, unit)
}
EVERY_HOST = ("system", "firewall")


def probe(wanted: Iterable[tuple[str, Mapping[str, str]]]) -> list[Check]:
    """Return the results of these checks. A check that cannot be made counts as failed."""
    found: list[Check] = []
    for name, arguments in (*((name, {}) for name in EVERY_HOST), *wanted):
        try:
            found += CHECKS[name](**arguments)
        except (OSError, ValueError, KeyError, ElementTree.ParseError) as error:
            found.append((name, False, cause(error)))
    return found


def cause(error: Exception) -> str:
    """Return an error as a few words."""
    if isinstance(error, FileNotFoundError):
        return f"not deployed ({os.path.basename(error.filename or 'a file')} is missing)"
    return " ".join(str(error).split())[:100]


if __name__ == "__main__":
    print(json.dumps(probe(json.loads(sys.argv[1]))))
