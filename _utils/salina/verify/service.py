"""Looks at the service: what a running host shows of the rows S, O and K.

Each look reads files, asks a daemon or sends one request as a client. The functions that judge what
a daemon has said take it as an argument and ask nothing themselves.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import stat
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from salina.application import database as marks
from salina.application import release
from salina.balancer import haproxy
from salina.common import tree as trees
from salina.database.psql import SAFE
from salina.health.probes import command
from salina.storage import gluster
from salina.verify.seen import TLS, WAIT, Seen, get, unverified

EXTENSIONS = Path(__file__).resolve().parents[3]
"""The directory to which Salt copies the repository's Python on a minion."""
MOUNTS, FSTAB = Path("/proc/mounts"), Path("/etc/fstab")
VOLUMES = Path("/var/lib/glusterd/vols")
ROTATION = Path("/etc/logrotate.d")
NGINX = Path("/etc/nginx/nginx.conf")
LOCAL = "127.0.0.1"
GATEWAY = (502, 503, 504)
"""nginx's own answers when the application does not answer."""
PATIENT = 20
"""Seconds for a process that may have to load the application first."""
TEXTS = (".js", ".css")
LEAST, MOST = 2_000, 500_000
"""Bytes of a static file that is worth to be compressed, and quick to send."""
SECURE = ("hostssl scram-sha-256", "local peer", "local scram-sha-256")
"""The kinds of lines of pg_hba.conf that use TLS and SCRAM, or stay within the host."""


# Every host


def clock() -> Iterator[Seen]:
    """Read this host's clock. The master compares it with its own."""
    yield Seen("clock", True, f"{time.time():.3f}")


def tree(wanted: str) -> Iterator[Seen]:
    """Look whether this host has the master's Python, with which an apply begins.

    Args:
        wanted: the digest of the master's.
    """
    found = trees.of_minion(EXTENSIONS)
    words = "the master's" if found == wanted else "another than the master's; apply the states"
    yield Seen("the tree's Python", found == wanted, f"{words} ({found[:12]})")


# App hosts


def mounted(path: str, volume: str, servers: Sequence[str]) -> Iterator[Seen]:
    """Look whether the volume is mounted, and whether each boot mounts it.

    Args:
        path: where it is mounted.
        volume: its name.
        servers: the storage hosts.
    """
    source, kind, _ = gluster.mounted(MOUNTS.read_text(), path)
    sources = [f"{server}:/{volume}" for server in servers]
    good = source in sources and kind == "fuse.glusterfs"
    yield Seen(path, good, f"{source} ({kind})" if source else "not mounted")
    lines = [line.split() for line in FSTAB.read_text().splitlines()]
    found = [line for line in lines if line[1:3] == [path, "glusterfs"] and line[0] in sources]
    good = bool(found) and "_netdev" in found[-1][3].split(",")
    words = "mounts it after the network" if good else f"{FSTAB} does not mount it"
    yield Seen("each boot", good, words)


def shared(paths: Sequence[str], directory: str) -> Iterator[Seen]:
    """Look whether users' files go to the application's directory on the volume.

    Args:
        paths: where the application writes them.
        directory: the application's directory.
    """
    for path in paths:
        real = os.path.realpath(path)
        good = os.path.isdir(real) and f"{real}/".startswith(f"{directory}/")
        yield Seen(path, good, real if os.path.isdir(real) else f"{real} does not exist")


def steps(wanted: Sequence[str], pillar: Mapping[str, Any]) -> Iterator[Seen]:
    """Look into the table of the steps that ran once for the service. A step has one line.

    Args:
        wanted: the steps that the running release needs.
        pillar: this host's pillar, with its way to the database.
    """
    asked = f"SELECT step, host, finished FROM {marks.MARKS} ORDER BY finished"
    with marks.session(pillar, "salina: verify") as opened:
        rows = [row.split("\t") for row in opened.query(asked)]
    yield done_once(rows, wanted)


def done_once(rows: Sequence[Sequence[str]], wanted: Sequence[str]) -> Seen:
    """Judge the table of the one-time steps.

    Args:
        rows: for each mark the step, the host that did it, and when.
        wanted: the steps that must be there.
    """
    found = [row[0] for row in rows]
    missing = [step for step in wanted if step not in found]
    twice = sorted({step for step in found if found.count(step) > 1})
    faults = [f"not done: {step}" for step in missing] + [f"done twice: {step}" for step in twice]
    last = f"; the last by {rows[-1][1]} at {rows[-1][2]}" if rows else ""
    return Seen("one-time steps", not faults, "; ".join(faults) or f"{len(found)} done{last}")


def checkout(link: str, commit: str) -> Iterator[Seen]:
    """Look whether the release that runs was built from the recorded commit.

    Args:
        link: the link to the release that runs.
        commit: the commit that the master has recorded.
    """
    name, own = release.active(link), release.Release(Path(os.path.realpath(link)))
    found = own.commit()
    words = f"commit {found[:12]}" if found == commit else f"{found[:12]} instead of {commit[:12]}"
    yield Seen(f"release {name}", found == commit, f"{words}, archive {own.digest()[:12]}")


def waiting(link: str) -> Iterator[Seen]:
    """Look whether a release waits for orch.upgrade.

    Args:
        link: the link to the release that runs.
    """
    found = release.waiting(link)
    yield Seen("releases that wait", not found, f"{found}; see orch.upgrade" if found else "none")


def kept(name: str, user: str) -> Iterator[Seen]:
    """Look whether systemd keeps a service running as its own user, and rotates its logs.

    Args:
        name: the unit.
        user: its user.
    """
    keys = ("ActiveState", "UnitFileState", "Restart", "User")
    shown = command("systemctl", "show", name, f"--property={','.join(keys)}")
    found = dict(line.partition("=")[::2] for line in shown.splitlines())
    values = [found.get(key) or "nothing" for key in keys]
    good = values == ["active", "enabled", "always", user]
    words = "{}, {} at boot, restarts: {}, user: {}".format(*values)
    yield Seen(f"unit {name}", good, words)
    rotated = [one.name for one in ROTATION.iterdir() if f"/var/log/{name}/" in one.read_text()]
    yield Seen("logs", bool(rotated), "rotated" if rotated else f"no file in {ROTATION} names them")


def odoo(path: str, wanted: Mapping[str, Any], workers: int | None) -> Iterator[Seen]:
    """Look into odoo.conf. It has passwords, so only the wanted options are shown.

    Args:
        path: the file.
        wanted: options with the values that they must have.
        workers: the number of workers in the settings, None if it depends on the host.
    """
    mode = stat.S_IMODE(os.stat(path).st_mode)
    yield Seen(path, not mode & 0o007, f"mode {mode:o}")
    yield from options(Path(path).read_text(), wanted, workers, os.cpu_count() or 1)


def options(
    text: str, wanted: Mapping[str, Any], workers: int | None, cores: int
) -> Iterator[Seen]:
    """Judge the content of odoo.conf.

    Args:
        text: the file's content.
        wanted: options with the values that they must have.
        workers: the number of workers in the settings, None if it depends on the host.
        cores: the processors of the host.
    """
    pairs = (line.partition("=") for line in text.splitlines())
    found = {key.strip(): value.strip() for key, _, value in pairs}
    wrong = [
        f"{key} is {found.get(key, 'missing')}, not {value}"
        for key, value in wanted.items()
        if found.get(key) != str(value)
    ]
    yield Seen("its options", not wrong, "; ".join(wrong) or f"{len(wanted)} as they must be")
    hashed = found.get("admin_passwd", "").startswith("$pbkdf2-")
    yield Seen("the administrator's password", hashed, "hashed" if hashed else "not hashed")
    places = [place for place in found.get("addons_path", "").split(",") if place]
    absent = [place for place in places if not os.path.isdir(place)]
    words = f"{', '.join(absent)} missing" if absent else f"{len(places)} directories"
    yield Seen("the path of the addons", bool(places) and not absent, words)
    number = found.get("workers", "")
    one_or_more = re.fullmatch("[1-9][0-9]*", number) is not None
    good = number == str(workers) if workers is not None else one_or_more
    yield Seen("workers", good, f"{number or 'none'} on {cores} cores")


def proxied(port: int, domain: str, path: str, directives: Sequence[str]) -> Iterator[Seen]:
    """Look whether nginx passes requests on to the application as it needs them.

    Args:
        port: nginx's port on loopback.
        domain: the application's host name.
        path: a path that the application answers.
        directives: the beginnings of the lines that nginx's configuration must have.
    """
    lines = [line.strip() for line in NGINX.read_text().splitlines()]
    missing = [one for one in directives if not any(line.startswith(one) for line in lines)]
    words = f"no {', no '.join(missing)}" if missing else f"{len(directives)} directives"
    yield Seen(str(NGINX), not missing, words)
    status, _ = get(LOCAL, port, False, domain, path)
    yield Seen(f"{path} through nginx", status < 400, f"HTTP {status}")


def long(port: int, domain: str, path: str) -> Iterator[Seen]:
    """Look whether the process for long requests answers through nginx.

    Any answer of its own is good: the request has no channel, so it may be refused.

    Args:
        port: nginx's port on loopback.
        domain: the application's host name.
        path: the path of long requests.
    """
    status, _ = get(LOCAL, port, False, domain, path, wait=PATIENT)
    yield Seen(f"{path} through nginx", status not in GATEWAY, f"HTTP {status}")


def static(
    port: int, domain: str, folders: Sequence[str], prefix: str, minutes: int
) -> Iterator[Seen]:
    """Ask nginx for a static text file, which must be compressed and cached.

    Args:
        port: nginx's port on loopback.
        domain: the application's host name.
        folders: directories on the disk, one of which has static files.
        prefix: the path by which clients reach the files of that directory.
        minutes: how long nginx and browsers keep them.
    """
    file = next((one for folder in folders if (one := _text_file(folder))), None)
    if file is None:
        yield Seen("a static file", False, f"there is none in {', '.join(folders)}")
        return
    path = f"{prefix}/{file}"
    status, headers = get(LOCAL, port, False, domain, path, headers={"Accept-Encoding": "gzip"})
    yield cached(path, status, headers, minutes)


def cached(path: str, status: int, headers: Mapping[str, str], minutes: int) -> Seen:
    """Judge the answer to a request for a static file.

    Args:
        path: its path.
        status: the status of the answer.
        headers: its headers, in lower case.
        minutes: how long it must be kept.
    """
    coding, age = headers.get("content-encoding", "none"), headers.get("cache-control", "none")
    here = headers.get("x-cache-status", "none")
    good = status == 200 and coding == "gzip"
    if minutes:
        good = good and f"max-age={minutes * 60}" in age and here != "none"
    return Seen(path, good, f"HTTP {status}, coding {coding}, {age}, nginx's cache: {here}")


def _text_file(folder: str) -> str | None:
    """Return the first static text file below a directory that is neither small nor huge."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            plain = re.fullmatch(r"[A-Za-z0-9_./-]+", os.path.relpath(path, folder))
            if plain and name.endswith(TEXTS) and LEAST <= os.lstat(path).st_size <= MOST:
                return os.path.relpath(path, folder)
    return None


# Storage hosts


def volumes(wanted: Sequence[Mapping[str, Any]]) -> Iterator[Seen]:
    """Look into glusterd's own record of each volume.

    Args:
        wanted: for each volume its `name`, `replica`, `bricks` and `options`.
    """
    for one in wanted:
        yield volume((VOLUMES / one["name"] / "info").read_text(), one)


def volume(info: str, wanted: Mapping[str, Any]) -> Seen:
    """Judge glusterd's record of a volume.

    Args:
        info: the record.
        wanted: its `name`, `replica`, `bricks` (as HOST:DIRECTORY) and `options`.
    """
    found = dict(line.partition("=")[::2] for line in info.splitlines())
    bricks = sorted(value for key, value in found.items() if re.fullmatch(r"brick-\d+", key))
    named = sorted(brick.replace("/", "-") for brick in wanted["bricks"])  # as glusterd writes
    faults = [
        f"{key} is {found.get(key, 'missing')}, not {value}"
        for key, value in {"replica_count": wanted["replica"], **wanted["options"]}.items()
        if found.get(key) != str(value)
    ]
    if bricks != named:
        faults.append(f"its bricks are {', '.join(bricks) or 'none'}")
    if found.get("status") != "1":
        faults.append("it is not started")
    timeout = found.get("network.ping-timeout", "?")
    words = f"{found.get('replica_count')} copies on {len(bricks)} bricks, waits {timeout} s"
    return Seen(f"volume {wanted['name']}", not faults, "; ".join(faults) or words)


# Database hosts

ACCESS = """
SELECT json_build_object(
  'ssl', current_setting('ssl'),
  'plain', (SELECT count(*) FROM pg_stat_ssl AS s JOIN pg_stat_activity AS a USING (pid)
            WHERE a.client_addr IS NOT NULL AND NOT s.ssl),
  'secure', (SELECT count(*) FROM pg_stat_ssl WHERE ssl),
  'rules', (SELECT json_agg(DISTINCT coalesce(type || ' ' || auth_method, 'a line with an error'))
            FROM pg_hba_file_rules),
  'scram', (SELECT json_object_agg(rolname, coalesce(rolpassword LIKE 'SCRAM-SHA-256$%', false))
            FROM pg_authid WHERE rolcanlogin),
  'super', (SELECT json_agg(rolname) FROM pg_roles WHERE rolsuper),
  'owners', (SELECT json_object_agg(datname, pg_get_userbyid(datdba)) FROM pg_database))
"""
"""The question to PostgreSQL about its connections and roles. No hash of a password leaves it."""


def access(port: int, applications: Sequence[str]) -> Iterator[Seen]:
    """Look how clients reach PostgreSQL, and which roles the applications have.

    Args:
        port: PostgreSQL's port.
        applications: their names, which their databases and roles bear.
    """
    psql = ("psql", "-XAtq", "--host=/run/postgresql", f"--port={port}", f"--command={ACCESS}")
    asked = ("runuser", "-u", "postgres", "--", "env", f"PGOPTIONS={SAFE}", *psql)
    yield from guarded(json.loads(command(*asked)), applications)


def guarded(found: Mapping[str, Any], applications: Sequence[str]) -> Iterator[Seen]:
    """Judge what PostgreSQL says of its connections and roles.

    Args:
        found: its answer to `ACCESS`.
        applications: the applications' names.
    """
    others = [rule for rule in found["rules"] or [] if rule not in SECURE]
    good = found["ssl"] == "on" and bool(found["rules"]) and not others
    words = ", ".join(found["rules"] or ["none"])
    yield Seen("lines of pg_hba.conf", good, f"{words}; ssl is {found['ssl']}")
    plain, secure = found["plain"], found["secure"]
    yield Seen("connections", not plain, f"{secure} with TLS, {plain} without")
    faults = []
    for name in applications:
        if found["owners"].get(name) != name:
            faults.append(f"the database {name} belongs to {found['owners'].get(name, 'nobody')}")
        if not found["scram"].get(name):
            faults.append(f"{name} has no SCRAM password")
        if name in found["super"]:
            faults.append(f"{name} is a superuser")
    words = "; ".join(faults) or f"{', '.join(applications)}: each with its own database and SCRAM"
    yield Seen("roles of applications", not faults, words)


# The balancer


def front(
    address: str,
    http: int,
    https: int | None,
    domain: str,
    url: str,
    path: str,
    closed: bool = False,
) -> Iterator[Seen]:
    """Ask the published service as a client would, first at the port for plain HTTP.

    Args:
        address: its address.
        http: its port for plain HTTP.
        https: its port for HTTPS, None without TLS.
        domain: the host name of an application.
        url: the application's URL.
        path: a path that the application answers.
        closed: whether no host serves the application, so clients get a page of maintenance.
    """
    why = "; closed, because its pool has no members" if closed else ""
    status, headers = get(address, http, False, domain, path)
    location = headers.get("location", "")
    good = status == 301 and location.startswith(url) if https else status < 400
    words = f"HTTP {status}" + (f" to {location}" if location else "" if https else why)
    yield Seen(f"{domain} at port {http}", good, words)
    if https:
        status, _ = get(address, https, True, domain, path)
        yield Seen(f"{domain} at port {https}", status < 400, f"HTTP {status}{why}")


def transport(
    address: str, port: int, domain: str, path: str, hsts: int, certificate: str
) -> Iterator[Seen]:
    """Look at HSTS, at the versions of TLS, and at the private key of an application.

    Args:
        address: the service's address.
        port: its port for HTTPS.
        domain: the application's host name.
        path: a path that the application answers.
        hsts: the seconds for which browsers insist on HTTPS.
        certificate: the name of the application's certificate.
    """
    _, headers = get(address, port, True, domain, path)
    header = headers.get("strict-transport-security", "none")
    yield Seen(f"HSTS of {domain}", header == f"max-age={hsts}", header)
    new = _version(address, port, domain, old=False)
    old = _version(address, port, domain, old=True)
    good = new in ("TLSv1.2", "TLSv1.3") and not old
    yield Seen(f"TLS of {domain}", good, f"{new or 'none'}; {old or 'nothing'} before TLSv1.2")
    found = os.stat(f"{TLS}/{certificate}.key")
    mode = stat.S_IMODE(found.st_mode)
    good = found.st_uid == 0 and not mode & (0o077 if found.st_gid else 0o007)
    yield Seen(f"the key of {domain}", good, f"mode {mode:o}, of user {found.st_uid}")


def _version(address: str, port: int, domain: str, old: bool) -> str:
    """Return the version of TLS that a server agrees to, "" if it refuses.

    Args:
        address: its address.
        port: its port.
        domain: the host name that clients use.
        old: whether to offer only versions before 1.2, with which OpenSSL must be told to be lax.
    """
    context = unverified()
    if old:
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection((address, port), WAIT) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=domain) as secure:
                return str(secure.version())
        except OSError:
            return ""


def balance(algorithm: str, applications: Mapping[str, Sequence[str]]) -> Iterator[Seen]:
    """Look how the running HAProxy spreads the requests, and over which hosts.

    Args:
        algorithm: the wanted algorithm.
        applications: the app hosts of each application.
    """
    yield from spread(haproxy.ask("show stat"), algorithm, applications)


def spread(
    statistics: str, algorithm: str, applications: Mapping[str, Sequence[str]]
) -> Iterator[Seen]:
    """Judge HAProxy's statistics.

    Args:
        statistics: its answer to `show stat`.
        algorithm: the wanted algorithm.
        applications: the app hosts of each application.
    """
    rows = haproxy.statistics(statistics)
    for name, hosts in applications.items():
        own = {row["svname"]: row for row in rows if row["pxname"] == name}
        found = own.pop("BACKEND", {}).get("algo", "unknown")
        counts = ", ".join(f"{host} {row.get('stot', 0)}" for host, row in own.items())
        words = f"{found}; requests: {counts or 'no host'}"
        absent = [host for host in hosts if host not in own]
        more = [host for host in own if host not in hosts]
        if absent or more:
            words = (
                f"{words}; missing: {' '.join(absent) or '-'}; too many: {' '.join(more) or '-'}"
            )
        yield Seen(f"backend {name}", found == algorithm and not absent and not more, words)


LOOKS: tuple[Callable[..., Iterator[Seen]], ...] = (
    *(clock, tree, mounted, shared, steps, checkout, waiting, kept, odoo, proxied, long, static),
    *(volumes, access, front, transport, balance),
)
PRIVATE = ("steps",)
"""The looks that log in as their host does, so they get its pillar."""
