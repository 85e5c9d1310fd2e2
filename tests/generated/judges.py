"""The judges of a host's files: each daemon that would read them on the host.

A judge gets the host's files in a directory, in which all paths stand for those of the host.
"""

from __future__ import annotations

import atexit
import ipaddress
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from salina.common import wait
from salina.database import patroni
from salina.firewall import many, ufw
from salina.quorum import etcd
from tests.authority import Authority
from tests.generated import programs
from tests.nginx import TYPES
from tests.render.minion import Minion

MOVED = re.compile(r"(?<![\w./-])/(etc|run|srv|usr/local|var|dev/log)(?=/|\b)")
"""The beginning of a path of a host."""
TLS = re.compile(r"etc/salina/tls/([\w.-]+?)\.(?:crt|key)\b")
NOBODY = re.compile(r"^(\s*(?:user|group)) [a-z-]+(;?)$", re.MULTILINE)
OWN_ADDRESS = "127.0.0.1"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
FASTCGI = "fastcgi_param QUERY_STRING $query_string;\n"
SECONDS = 20
UFW = ("default/ufw", "ufw/ufw.conf", "ufw/user.rules", "ufw/user6.rules", "ufw/after.rules")


class Host:
    """A host's files in a directory of their own.

    Attributes:
        minion: the host, rendered.
        root: the directory, which stands for the host's /.
        texts: the files by their paths on the host.
    """

    def __init__(self, minion: Minion, root: Path) -> None:
        self.minion, self.root = minion, root
        self.pillar: Mapping[str, Any] = minion.opts["pillar"]
        self.texts = dict(minion.files)

    def moved(self, text: str) -> str:
        """Return a text whose paths lead into the directory."""
        return MOVED.sub(lambda found: f"{self.root}{found[0]}", text)

    def write(self, *prefixes: str) -> list[Path]:
        """Write the files whose paths begin so, with what they refer to. Return their places."""
        found = []
        for path, text in self.texts.items():
            if path.startswith(prefixes):
                file = self.root / path.lstrip("/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(self.moved(text), encoding="utf-8")
                found.append(file)
                self.certificates(text)
        return found

    def certificates(self, text: str) -> None:
        """Make the certificates that a text names; all of them are the same one."""
        place = self.root / "etc/salina/tls"
        place.mkdir(parents=True, exist_ok=True)
        for name in {*TLS.findall(text), "ca"}:
            for end in ("crt", "key"):
                target = place / f"{name}.{end}"
                if not target.exists():
                    target.symlink_to(identity() / f"{'ca' if name == 'ca' else 'own'}.{end}")


@cache
def identity() -> Path:
    """Return a directory with a CA, and with one certificate and its key."""
    place = Path(tempfile.mkdtemp(prefix="salina-identity-", dir="/var/tmp"))
    Authority(place).issue("own", "host")
    shutil.copy(place / "own.key", place / "ca.key")
    place.chmod(0o755)
    for file in place.iterdir():
        file.chmod(0o644)
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


def haproxy(host: Host) -> Iterator[str]:
    """Yield what HAProxy says against all of its fragments together."""
    fragments = host.write("/etc/haproxy/")
    if not fragments:
        return
    for file in fragments:
        file.write_text(NOBODY.sub(r"\1 root\2", file.read_text()))
    (host.root / "var/lib/haproxy").mkdir(parents=True, exist_ok=True)
    done = programs.run([programs.program("haproxy"), "-c", "-f", host.root / "etc/haproxy/conf.d"])
    warnings = [
        line for line in done.stderr.splitlines() if "[WARNING]" in line and "-state" not in line
    ]
    if done.returncode or warnings:
        yield f"haproxy: {done.stderr}"


def nginx(host: Host) -> Iterator[str]:
    """Yield what nginx says against each of its configurations."""
    host.write("/etc/nginx/", "/usr/local/")
    for path, text in host.texts.items():
        if re.search(r"^events \{$", text, re.MULTILINE):
            file = host.root / path.lstrip("/")
            own = NOBODY.sub(r"\1 root\2", host.moved(text))
            for kind in TEMPORARY:
                if f"{kind}_temp_path" not in own:
                    own = own.replace(
                        "\nhttp {\n", f"\nhttp {{\n    {kind}_temp_path {host.root}/{kind};\n", 1
                    )
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(own, encoding="utf-8")
            for place in ("var/log/nginx", "run/salina-logs", "var/cache/nginx", "etc/nginx"):
                (host.root / place).mkdir(parents=True, exist_ok=True)
            for name, content in (("mime.types", TYPES), ("fastcgi_params", FASTCGI)):
                (host.root / "etc/nginx" / name).write_text(content)
            for name in ("release.map", "older-balancers.conf"):
                place = host.root / "etc/nginx" / name
                place.exists() or place.touch()
            host.certificates(text)
            done = programs.run([programs.program("nginx"), "-t", "-q", "-e", "stderr", "-c", file])
            if done.returncode or done.stderr:
                yield f"nginx {path}: {done.stderr}"


def pgbouncer(host: Host) -> Iterator[str]:
    """Yield why pgbouncer does not start."""
    if not host.write("/etc/pgbouncer/"):
        return
    for place in ("var/log/postgresql", "var/run/postgresql"):
        (host.root / place).mkdir(parents=True, exist_ok=True)
    subprocess.run(["chown", "-R", "nobody:", host.root / "var", host.root / "etc/pgbouncer"])
    log = host.root / "var/log/postgresql/pgbouncer.log"
    file = host.root / "etc/pgbouncer/pgbouncer.ini"
    command = [programs.program("pgbouncer"), "-q", "-u", "nobody", file]
    yield from started("pgbouncer", command, {}, log, "process up")


def quorum(host: Host) -> Iterator[str]:
    """Yield why etcd does not start as a voter of a new cluster."""
    path = "/etc/default/etcd"
    if path not in host.texts:
        return
    text = host.texts[path]
    host.certificates(text)
    variables = dict(re.findall(r'^(\w+)="(.*)"$', host.moved(text), re.MULTILINE))
    variables |= etcd.join_environment(host.pillar["quorum"], "new", ())
    said = host.root / "etcd.log"
    command = [programs.program("etcd"), "--logger=zap", f"--log-outputs={said}"]
    yield from started("etcd", command, variables, said, "became follower")


def started(
    name: str,
    command: list[Any],
    variables: Mapping[str, str],
    log: Path,
    ready: str,
) -> Iterator[str]:
    """Start a daemon, wait until its log says that it is ready, and end it. Yield what it says
    instead.
    """

    def is_ready() -> bool:
        return log.exists() and ready in log.read_text()

    argv, own = programs.inside(command, more=variables)
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(argv, env=own, stdout=said, stderr=said)
        try:
            wait.until(lambda: process.poll() is not None or is_ready(), SECONDS, 0.02)
            if not is_ready():
                said.seek(0)
                written = log.read_text() if log.exists() else ""
                yield f"{name}: exit code {process.poll()}: {said.read()[-2000:]}{written[-2000:]}"
        finally:
            process.kill()
            process.wait()


def postgresql(host: Host) -> Iterator[str]:
    """Yield what PostgreSQL says against its parameters, as Patroni writes them."""
    database = host.pillar.get("database")
    if not database:
        return
    place = host.root / "cluster"
    place.mkdir(mode=0o755)
    lines = [
        f"{key} = '{quoted(value)}'"
        for key, value in patroni.dynamic(dict(database))["postgresql"]["parameters"].items()
    ]
    (place / "postgresql.conf").write_text("\n".join(lines) + "\n")
    command = [programs.program("postgres"), "-D", place, "-C", "shared_buffers"]
    done = programs.run(command, user="nobody")
    if done.returncode:
        yield f"postgres: {done.stderr}\n" + "\n".join(lines)


def quoted(value: object) -> str:
    """Return a value as Patroni writes it between quotes (patroni.postgresql.config)."""
    text = str(value).replace("\\", "\\\\").replace("'", "''")
    return {"True": "on", "False": "off"}.get(text, text)


def firewall(host: Host) -> Iterator[str]:
    """Yield what ufw says against the rules, and iptables against the files before them."""
    for path, command in (
        ("/etc/ufw/before.rules", "iptables-restore"),
        ("/etc/ufw/before6.rules", "ip6tables-restore"),
    ):
        tool = programs.program("xtables-nft-multi")
        done = programs.run([tool, command, "--noflush", "--test"], host.texts[path])
        if done.returncode:
            yield f"{command} {path}: {done.stderr}"
    rules = host.pillar["ufw"]
    cards = {one["in"]: [f"card{place}"] for place, one in enumerate(rules["near"])}
    wanted = ufw.wanted(rules["rules"], rules["routes"], rules["outgoing"], cards)
    yield from refused([rule.addition[1:] for rule in wanted])


START = """
import runpy, sys
home = sys.argv.pop(1)
sys.path.insert(0, f"{home}/usr/lib/python3/dist-packages")
import ufw.common
ufw.common.iptables_dir = f"{home}/usr/sbin"
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""
"""Runs a file with the ufw and the iptables of a directory."""


def refused(commands: list[list[str]]) -> Iterator[str]:
    """Yield what ufw says against commands."""
    new = [one for one in commands if shape(one) not in KNOWN]
    if not new:
        return
    place = firewall_home()
    argv = ["/usr/bin/python3", "-I", "-c", START, place, many.__file__]
    argv += [programs.program("ufw"), f"--rootdir={place}", f"--datadir={place}"]
    done = programs.run(argv, json.dumps([["--dry-run", *one] for one in new]))
    if done.returncode:
        yield f"ufw: {done.stderr}"
    else:
        KNOWN.update(map(shape, new))


def shape(command: list[str]) -> tuple[str, ...]:
    """Return a command with the kind of each address, and with the signs of its comment only."""
    *words, comment = command
    signs = "".join(sorted({one for one in comment if not (one.isascii() and one.isalnum())}))
    return (*("card" if one.startswith("card") else kind(one) for one in words), signs)


def kind(word: str) -> str:
    """Return the kind of an address or of a network: `4/True` for a host; any other word itself."""
    try:
        found = ipaddress.ip_network(word)
    except ValueError:
        return word
    return f"{found.version}/{found.prefixlen == found.max_prefixlen}"


KNOWN: set[tuple[str, ...]] = set()
"""The shapes of the commands that ufw has accepted already, each of which costs it some time."""


@cache
def firewall_home() -> Path:
    """Return a directory with ufw and its own files, as its package has them after it is installed.

    ufw calls iptables to learn its version only.
    """
    place = programs.home()
    for file in [
        *(place / "usr/share/ufw").glob("*"),
        *(place / "usr/share/ufw/iptables").glob("*"),
    ]:
        if file.is_file():
            shutil.copy(file, place / "etc/ufw")
    for end in ("", "-restore"):
        for name in ("iptables", "ip6tables"):
            link = place / "usr/sbin" / f"{name}{end}"
            link.unlink(missing_ok=True)  # to Debian's alternatives
            link.symlink_to("xtables-nft-multi")
    return place


JUDGES: tuple[Callable[[Host], Iterator[str]], ...] = (
    haproxy,
    nginx,
    pgbouncer,
    quorum,
    postgresql,
    firewall,
)


def faults(minion: Minion, root: Path) -> list[str]:
    """Return what the daemons of a host say against its files."""
    root.mkdir(parents=True)
    root.chmod(0o755)
    try:
        host = Host(minion, root)
        return [fault for judge in JUDGES for fault in judge(host)]
    finally:
        shutil.rmtree(root, ignore_errors=True)
