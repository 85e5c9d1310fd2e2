"""The checks of a host's health, which run on the host itself.

They are the only implementation: `salt-run fleet.health` has them run by each minion
(_modules/health.py), and `bin/lab status` sends this file to each host's own Python, because it
must also work on a host whose minion is dead. So the file uses the standard library only. A host
with little to check must answer soon, so a check imports the larger libraries itself.

docs/health.md lists what each check misses, and what catches that instead.

CLI: python3 - CHECKS < _utils/salina/health/probes.py      prints `report`, as JSON
CHECKS: a JSON list of [name of a function below, its arguments], as salina_fleet.health gives them
"""

from __future__ import annotations

import calendar
import csv
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

Check = tuple[str, bool, str]
"""The subject of the check, whether it is good, and further words."""
Notice = tuple[str, bool, str, bool]
"""The same, and that an operator has something to do, although the host is healthy."""

TLS = "/etc/salina/tls"
HAPROXY = "/run/haproxy/admin.sock"
AGENT = "/run/salina-health.sock"
WAIT = 4.5
"""Seconds for one answer. An app host's agent gives its application 4 seconds."""
LIMIT = 5.0
"""Seconds for all checks, which run side by side. A check that takes longer is not good."""
DIRECTORIES = ("/", "/tmp", "/var")
"""A directory of each file system that a host needs."""
ENOUGH = 5
"""Percent of the memory, swap included, that must be free before the kernel kills a process."""
FREE = 200 * 2**20
"""Bytes that each of these file systems must have free."""
STANDBY = ("sync_standby", "quorum_standby")
"""Patroni's roles of a replica that has every commit."""
CHAINS = ("INPUT", "OUTPUT", "FORWARD")
"""The kernel's own chains. Each begins with jumps to ufw's."""
UFW = Path("/etc/ufw")
"""The directory of ufw's files of rules."""
PROC = Path("/proc")
"""The processes of this host."""
PROGRAMS = ("/usr/", "/lib", "/opt/")
"""The beginnings of the paths of programs and libraries."""
UNIT = re.compile(r"/([^/\n]+)\.(service|mount)$", re.MULTILINE)
"""In /proc/PID/cgroup, the innermost unit of systemd that the process belongs to."""
REBOOT = Path("/run/reboot-required")
"""Debian's kernels create this file, and a second one with the names of the packages."""
LASTING = ("dbus", "systemd-logind", "user", "getty", "serial-getty", "console-getty")
"""Services that end sessions or break others when they restart. A reboot renews them."""
CAP_SYS_TIME = 25
"""The number of the capability to set the clock (linux/capability.h)."""
LOCAL = "7F7F0101"
"""chrony's reference, if that is the host's own clock."""
SILENT = 3600.0
"""Seconds without an answer of a time server. chrony asks at least every 17 minutes."""
SHOWN = 5
"""The most alerts whose words are shown."""
PATIENT = 5.0
"""Seconds that a client of pgbouncer may wait for a connection. With a primary it waits none."""
STALE = 120.0
"""Seconds after which the view of Nagios is not that of a running one."""
CLIENTS = ".meta/graphs/active"
"""In a mounted volume: the state of its client, a directory for each translator."""
BRICK = ("remote-host", "remote-subvolume")
"""The files that name a brick there."""
ESTABLISHED, LISTENING = "01", "0A"
"""States of a connection in /proc/net/tcp."""
UNMASK = {"masked": "unmask", "masked-runtime": "unmask --runtime"}
"""The states of a unit's file in which systemd refuses to enable the unit, and what ends them."""
STAMPS = "/var/lib/apt/periodic"
"""Where apt writes when its services did something with success."""
SELDOM = 2.5 * 86_400
"""Seconds after which a host should have done again what it does once a day."""
RESTARTS, RECENT = 3, 60.0
"""A unit that systemd restarted so often, the last time within so many seconds, does not work."""
SHARED = "shared addresses"
"""The subject of the check of a host that shares addresses with another one."""
HERE, ELSEWHERE = "here", "at the other host"
"""Where such a host says that they are. The caller compares both hosts (salina_fleet.pair)."""
JOBS = """
SELECT json_build_object(
  'known', extract(epoch FROM now() - greatest(pg_postmaster_start_time(), (
    SELECT (pg_stat_file('base/' || oid || '/PG_VERSION')).modification
    FROM pg_database WHERE datname = current_database()))),
  'ended', extract(epoch FROM now() - max(lastcall) AT TIME ZONE 'UTC'),
  'due', coalesce(
    json_object_agg(
      coalesce(to_jsonb(ir_cron) ->> 'cron_name', id::text),
      extract(epoch FROM now() - nextcall AT TIME ZONE 'UTC'))
    FILTER (WHERE active AND nextcall < now() AT TIME ZONE 'UTC'
      AND coalesce(to_jsonb(ir_cron) ->> 'numbercall', '-1') <> '0'),
    '{}'))
FROM ir_cron HAVING NOT pg_is_in_recovery()
"""
"""Odoo's table of jobs says, in seconds: for how long the database is here and answers, since
when the last job has ended, and for how long each of the others is due. Odoo 18 and later have no
`numbercall`, and a name may have a text for each language. Its times are UTC.
"""
STUCK = 86_400.0
"""Seconds after which a job that is due certainly does not end."""
AUTOSCALED = "/run/salina-autoscale.json"
"""The record of the failures in a row of autoscaling, on the master. There is none while it works.
"""
FAILURES = {"look": 3, "change": 2}
"""How many failures of autoscaling in a row are a fault: to look at the load in each minute, and to
change a pool, which is tried again after the cooling time."""
KEPT = "/var/log/journal/remote"
"""The directory of the monitoring host with a directory of each host's logs."""
QUIET = 3 * 3600.0
"""Seconds without a line of a host. The timer of its certificates writes some every hour."""


# Questions


def command(*argv: str, given: str = "", variables: Mapping[str, str] | None = None) -> str:
    """Return the output of a command.

    Args:
        argv: the command and its arguments.
        given: its standard input.
        variables: what its environment has besides; the place for a secret.

    Raises:
        OSError: the command is not installed, fails, or does not end.
    """
    try:
        done = subprocess.run(
            argv,
            input=given,
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
            env={**os.environ, **(variables or {})},
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{argv[0]} does not end") from error
    if done.returncode:
        raise OSError((done.stderr or done.stdout).strip() or f"exit code {done.returncode}")
    return done.stdout


class Stopped(OSError):
    """PostgreSQL does not run here. The check `patroni` says so, and one fault is enough."""


def sql(port: int, *argv: str, given: str = "") -> str:
    """Return what this host's PostgreSQL answers, asked as its own user.

    Args:
        port: its port.
        argv: further arguments for psql, such as the statement.
        given: a script, for `--file=-`.

    Raises:
        Stopped: it does not run.
        OSError: it refuses.
    """
    psql = ("psql", "-XAtq", "--host=/run/postgresql", f"--port={port}", *argv)
    try:
        return command("runuser", "-u", "postgres", "--", *psql, given=given)
    except OSError as error:
        if re.search(r'on socket ".*" failed: (No such file|Connection refused)', str(error)):
            raise Stopped("PostgreSQL does not run here; see patroni") from error
        raise


def ask(path: str, question: str) -> str:
    """Return the whole answer of a daemon to a question on its Unix socket.

    Raises:
        OSError: there is no answer.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(WAIT)
        try:
            connection.connect(path)
        except FileNotFoundError:
            raise FileNotFoundError(2, "there is no such socket", path) from None
        connection.sendall(question.encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def get(
    address: str, port: int, path: str, headers: Mapping[str, str] | None = None, caller: str = ""
) -> tuple[int, str]:
    """Return status and body of a request; with TLS both sides show certificates of the CA.

    Args:
        address: the server's address.
        port: its port.
        path: the path to ask for.
        headers: what to send besides.
        caller: the name of this host's certificate for TLS, "" for plain HTTP.

    Raises:
        OSError: there is no answer, or the certificate is not valid.
    """
    import http.client

    if caller:
        context = trusting()
        context.load_cert_chain(f"{TLS}/{caller}.crt", f"{TLS}/{caller}.key")
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


def trusting() -> Any:
    """Return a TLS context that trusts the fleet's CA and nobody else."""
    import ssl

    return ssl.create_default_context(cafile=f"{TLS}/ca.crt")


def processes() -> Iterator[tuple[int, list[str]]]:
    """Return the id and the command line of each process of this host."""
    for entry in os.listdir(PROC):
        if entry.isdigit():
            try:
                line = Path(PROC, entry, "cmdline").read_bytes()
            except OSError:
                continue  # it has ended
            yield int(entry), line.decode(errors="replace").rstrip("\0").split("\0")


def status_of(process: int) -> list[str]:
    """Return the fields of /proc/PID/stat that follow the command's name: state, parent, others."""
    return Path(PROC, str(process), "stat").read_text().rpartition(")")[2].split()


def age_of(process: int) -> float:
    """Return how many seconds ago a process started."""
    ticks = int(status_of(process)[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks


# Every host


def system() -> Iterator[Check]:
    """Check that no unit of systemd has failed, and that none restarts again and again."""
    lines = command("systemctl", "list-units", "--failed", "--plain", "--no-legend").splitlines()
    failed = " ".join(line.split()[0] for line in lines)
    yield "units", not failed, f"failed: {failed}" if failed else ""
    keys = "--property=Id,NRestarts,ExecMainStartTimestampMonotonic"
    found = restarting(command("systemctl", "show", keys, "*.service"), time.monotonic())
    if found:
        yield "restarts", False, found


def restarting(shown: str, now: float) -> str:
    """Return which units restart again and again, or "".

    Such a unit is active most of the time, so it never fails in the eyes of systemd.

    Args:
        shown: the output of `systemctl show`, a block for each unit.
        now: seconds of the monotonic clock.
    """
    faults = []
    for block in shown.strip().split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        count = int(unit.get("NRestarts") or 0)
        since = now - int(unit.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
        if count >= RESTARTS and since < RECENT:
            faults.append(f"{unit['Id']} restarted {count} times, the last time {since:.0f} s ago")
    return "; ".join(faults)


def firewall() -> Iterator[Check]:
    """Check that the kernel uses ufw's rules and no others, and drops all other packets.

    `ufw status` says "active" as long as ufw's chains exist, even if the kernel uses none of them.
    """
    families = {"iptables": ("ufw", "user.rules"), "ip6tables": ("ufw6", "user6.rules")}
    if not has_ipv6():
        del families["ip6tables"]
    for tool, (name, file) in families.items():
        rules = command(tool, "-S")
        fault = open_to_all(rules, name) or by_hand(rules, (UFW / file).read_text(), name)
        if fault:
            yield "ufw", False, f"{tool}: {fault}"
            return
    yield "ufw", True, "active"


def has_ipv6() -> bool:
    """Return whether this host has IPv6."""
    try:
        return bool(Path("/proc/net/if_inet6").read_text())
    except OSError:
        return False


def open_to_all(rules: str, name: str) -> str:
    """Return why the kernel lets packets through that ufw would drop, or "".

    Args:
        rules: the kernel's rules, as `iptables -S` prints them.
        name: the beginning of the names of ufw's chains.
    """
    lines = rules.splitlines()
    for chain in CHAINS:
        if not {f"-P {chain} DROP", f"-P {chain} REJECT"} & {*lines}:
            return f"inactive, so {chain} accepts every packet; apply the states of this host"
        first = f"{name}-before-{chain.lower()}"
        if f"-A {chain} -j {first}" not in lines:
            return f"the chain {chain} does not use {first}; apply the states of this host"
    return ""


def by_hand(rules: str, file: str, name: str) -> str:
    """Return which rules somebody has added to the kernel, or deleted, beside ufw, or "".

    The rules of ufw's own files, such as before.rules, are in chains that are not compared.

    Args:
        rules: the kernel's rules, as `iptables -S` prints them.
        file: ufw's file of the rules that Salt manages.
        name: the beginning of the names of ufw's chains.
    """
    lines = rules.splitlines()
    own = tuple(f"-A {name}-user-{chain.lower()} " for chain in CHAINS)
    jumps = tuple(f"-A {chain} -j {name}-" for chain in CHAINS)
    found = {canonical(line): line for line in lines if line.startswith(own)}
    wanted = {canonical(line): line for line in file.splitlines() if line.startswith(own)}
    more = [line for key, line in found.items() if key not in wanted]
    more += [
        line
        for line in lines
        if line.startswith(tuple(f"-A {chain} " for chain in CHAINS)) and not line.startswith(jumps)
    ]
    less = [line for key, line in wanted.items() if key not in found]
    faults = [f"added by hand: {more[0]}; delete it with -D in place of -A"] if more else []
    faults += [f"missing: {less[0]}; next: ufw reload"] if less else []
    return "; ".join(faults)


def canonical(rule: str) -> frozenset[tuple[str, str]]:
    """Return a rule's options, so that ufw's words and those of the kernel are the same.

    The kernel orders the options, names the module of each match, and gives an address its length.

    Args:
        rule: a line such as `-A ufw-user-input -s 10.1.5.2/32 -p tcp -m tcp --dport 22 -j ACCEPT`.
    """
    words = rule.split()
    pairs = zip(words[::2], words[1::2], strict=False)
    return frozenset(
        (option, re.sub(r"/(32|128)$", "", value)) for option, value in pairs if option != "-m"
    )


def forwarding(ipv4: bool, ipv6: bool) -> Iterator[Check]:
    """Check on the firewall host that its kernel forwards packets.

    Args:
        ipv4: whether it must forward those of IPv4.
        ipv6: whether it must forward those of IPv6.
    """
    switches = {"ipv4/ip_forward": ipv4, "ipv6/conf/all/forwarding": ipv6}
    faults = [
        f"net/{name} is 0, so clients do not reach the service; apply the states of this host"
        for name, needed in switches.items()
        if needed and (PROC / "sys/net" / name).read_text().strip() != "1"
    ]
    yield "forwarding", not faults, "; ".join(faults)


def shared(addresses: list[str], own: list[str]) -> Iterator[Check]:
    """Check on a host of a pair that it has all shared addresses or none, and could have them.

    Args:
        addresses: the shared addresses.
        own: the host's own addresses on the interfaces that carry them.
    """
    yield moved(command("ip", "-json", "address", "show"), addresses, own)


def moved(text: str, addresses: Sequence[str], own: Sequence[str]) -> Check:
    """Judge the addresses of a host of a pair.

    Args:
        text: the output of `ip -json address show`.
        addresses: the shared addresses.
        own: the host's own addresses on the interfaces that carry them.
    """
    what, cards = SHARED, json.loads(text)
    cut = [card["ifname"] for card in cards if "NO-CARRIER" in card["flags"]]
    where = {one.get("local"): card["ifname"] for card in cards for one in card["addr_info"]}
    if missing := [address for address in own if address not in where]:
        return what, False, f"{', '.join(missing)} is on no interface"
    if dead := [where[address] for address in own if where[address] in cut]:
        return what, False, f"{', '.join(dead)} is not connected"
    here = [address for address in addresses if address in where]
    if here and len(here) < len(addresses):
        words = f"only {', '.join(here)} of {', '.join(addresses)}"
        return what, False, f"{words}; see journalctl -u keepalived"
    return what, True, HERE if here else ELSEWHERE


def triggers(units: Sequence[str]) -> Iterator[Check]:
    """Check that the host's timers and sockets are active, and start at a boot.

    Otherwise their services never run, and nothing fails.

    Args:
        units: those that the host must have, whatever systemd knows of them.
    """
    keys = "--property=LoadState,ActiveState,UnitFileState"
    blocks = command("systemctl", "show", keys, *units).strip().split("\n\n") if units else []
    missing, stopped = [], []
    masked: dict[str, list[str]] = {}
    for name, block in zip(units, blocks, strict=True):
        shown = dict(line.split("=", 1) for line in block.splitlines())
        if shown["LoadState"] == "not-found":
            missing.append(name)
        elif shown["LoadState"] == "masked" or shown["UnitFileState"] in UNMASK:
            masked.setdefault(UNMASK.get(shown["UnitFileState"], "unmask"), []).append(name)
        elif (shown["ActiveState"], shown["UnitFileState"]) != ("active", "enabled"):
            stopped.append(name)
    faults = [f"missing: {' '.join(missing)}; apply the states of this host"] if missing else []
    faults += [f"stopped: systemctl enable --now {' '.join(stopped)}"] if stopped else []
    faults += [
        f"masked: systemctl {verb} {' '.join(names)} && systemctl enable --now {' '.join(names)}"
        for verb, names in masked.items()
    ]
    yield "timers and sockets", not faults, "; ".join(faults)


def unit_states(names: Sequence[str]) -> list[str]:
    """Return the state of each of these units: `active`, `inactive`, `failed`."""
    done = subprocess.run(
        ["systemctl", "is-active", *names],
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    return done.stdout.split()


def timekeeping() -> Iterator[Check | Notice]:
    """Tell whether chrony has the time from a server. The host serves without that, so no fault.

    The clock itself is compared with the master's by the caller. A container without the capability
    to set the clock has its machine's, with or without a chrony that only watches.
    """
    bounding = re.search(r"^CapBnd:\s*([0-9a-f]+)$", (PROC / "1/status").read_text(), re.MULTILINE)
    own = bounding is not None and bool(int(bounding[1], 16) >> CAP_SYS_TIME & 1)
    try:
        words = unsynchronised(command("chronyc", "-n", "-c", "tracking"), time.time(), own)
    except OSError as error:
        words = f"chrony does not answer: {error}" if own else ""
    yield ("time", True, words, True) if words else ("time", True, "")


def unsynchronised(tracking: str, now: float, own: bool) -> str:
    """Return why a clock does not follow a time server, or "".

    Args:
        tracking: the output of `chronyc -c tracking`.
        now: the time, in seconds.
        own: whether this host can set its clock.
    """
    reference, *others = tracking.strip().split(",")
    if others[-1] == "Not synchronised":
        return "no time server has answered yet; see `chronyc sources`"
    if reference == LOCAL:
        words = "no time server answers, so the fleet follows this clock; see `chronyc sources`"
        return words if own else ""
    silent = now - float(others[2])
    if silent > SILENT:
        return f"no time server has answered for {silent / 60:.0f} minutes; see `chronyc sources`"
    return ""


def memory() -> Iterator[Check]:
    """Check that the host has free memory."""
    free = available((PROC / "meminfo").read_text())
    words = "" if free >= ENOUGH else f"{free} % free, of {ENOUGH} needed"
    yield "memory", free >= ENOUGH, words


def available(meminfo: str) -> int:
    """Return the free memory in percent, with the free swap and what the kernel can give up.

    Args:
        meminfo: the content of /proc/meminfo.
    """
    found = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in meminfo.splitlines())
    }
    whole = found["MemTotal"] + found["SwapTotal"]
    return (found["MemAvailable"] + found["SwapFree"]) * 100 // whole


def disk() -> Iterator[Check]:
    """Check that each file system has free space and free inodes, and can be written."""
    yield from _room("disk", DIRECTORIES)


def repositories(places: list[str]) -> Iterator[Check]:
    """Check the same of the file systems of the backups, on the backup host.

    Args:
        places: their directories.
    """
    yield from _room("room for backups", places)


def _room(name: str, directories: Sequence[str]) -> Iterator[Check]:
    seen = set()
    faults = []
    for directory in directories:
        device = os.stat(directory).st_dev
        if device in seen:
            continue
        seen.add(device)
        fault = full(os.statvfs(directory))
        faults += [f"{directory} {fault}"] if fault else []
    yield name, not faults, "; ".join(faults)


def full(found: os.statvfs_result) -> str:
    """Return why a file system takes no more files, or ""."""
    free = found.f_bavail * found.f_frsize
    if found.f_flag & os.ST_RDONLY:
        return "is read-only"
    if free < FREE:
        return f"has {free // 2**20} MiB free, of {FREE // 2**20} needed"
    if found.f_files and not found.f_favail:
        return "has no free inode"
    return ""


def certificates(names: Mapping[str, str], least: int) -> Iterator[Check]:
    """Check that each of the host's own certificates is valid long enough.

    Args:
        names: the names of the certificates, each with the next step if it is not.
        least: the fewest seconds that they must still be valid.
    """
    for name, advice in names.items():
        _, end = validity(Path(TLS, f"{name}.crt").read_text())
        yield expiry(f"certificate {name}", end - time.time(), least, advice)


def issued(certificate: str, directory: str, least: int) -> Iterator[Check]:
    """Check that an ACME directory has issued a certificate, and renews it in time.

    Args:
        certificate: its name.
        directory: the URL of the directory.
        least: the fewest seconds that it must still be valid; fewer for a short-lived one.
    """
    what, text = f"certificate {certificate}", Path(TLS, f"{certificate}.crt").read_text()
    advice = f"see journalctl -u salina-acme@{certificate}"
    if not text.startswith(f"# {directory}\n"):
        yield what, False, f"{directory} has not issued it yet; {advice}"
        return
    begin, end = validity(text)
    enough = min(least, (end - begin) // 6)
    yield expiry(what, end - time.time(), enough, f"its renewal fails: {advice}")


def served(address: str, port: int, domain: str, certificate: str, own: bool) -> Iterator[Check]:
    """Check that a daemon serves a certificate of the host, which is valid and bears the domain.

    A daemon that has not read the renewed certificate serves the old one.

    Args:
        address: the daemon's address.
        port: the daemon's port.
        domain: the name that clients use.
        certificate: the name of the certificate.
        own: whether it is the operator's own or a directory's, so that this host may not know its
            CA.
    """
    import ssl

    context = trusting()
    if own:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((address, port), WAIT) as connection,
        context.wrap_socket(connection, server_hostname=domain) as secure,
    ):
        shown = secure.getpeercert(binary_form=True)
    path = f"{TLS}/{certificate}.crt"
    good = shown == first_certificate(Path(path).read_text())
    words = "" if good else f"an older certificate than {path}; apply the states of this host"
    yield f"served to {domain}", good, words


def closed(address: str, port: int, tls: bool, domain: str) -> Iterator[Check | Notice]:
    """Check that clients of an application without hosts get a page that says so.

    An operator has removed all of its hosts, so this is a notice.

    Args:
        address: the published address.
        port: the published port.
        tls: whether it uses HTTPS.
        domain: the name that clients use.
    """
    import http.client
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # `served` looks at it
    connection = (
        http.client.HTTPSConnection(address, port, timeout=WAIT, context=context)
        if tls
        else http.client.HTTPConnection(address, port, timeout=WAIT)
    )
    try:
        connection.request("GET", "/", headers={"Host": domain})
        answer = connection.getresponse()
        found = f"HTTP {answer.status}"
        good = answer.status == 503 and answer.getheader("Retry-After") is not None
    except http.client.HTTPException as error:
        found, good = f"no HTTP: {error!r}", False
    finally:
        connection.close()
    if good:
        words = f"its pool has no members, so clients get {found} and a page of maintenance"
        yield f"closed {domain}", True, f"{words}; next: salt-run fleet.scale", True
    else:
        words = f"{found}, although its pool has no members; apply the states of this host"
        yield f"closed {domain}", False, words


def expiry(what: str, left: float, least: float, advice: str) -> Check:
    """Judge how long a certificate is still valid.

    Args:
        what: the name of the check.
        left: the seconds until its end; negative if it has expired.
        least: the fewest seconds that it must still be valid.
        advice: the next step when it is not.
    """
    number = abs(left) / 86_400
    period = f"{int(number)} days" if number >= 2 else f"{int(abs(left) // 60)} minutes"
    words = f"valid for {period} more" if left >= 0 else f"expired {period} ago"
    if left >= least:
        return what, True, words
    return what, False, f"{words}; {advice}"


def first_certificate(pem: str) -> bytes:
    """Return the first certificate of a file, as DER.

    Raises:
        ValueError: there is none.
    """
    import ssl

    found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.S)
    if not found:
        raise ValueError("the file contains no certificate")
    return ssl.PEM_cert_to_DER_cert(found[0])


def validity(pem: str) -> tuple[float, float]:
    """Return when the first certificate of a file begins and ends, in seconds (RFC 5280, 4.1).

    A process of openssl for each certificate would take most of the time of a host's checks.

    Raises:
        ValueError: it is not a certificate.
    """
    ((_, certificate),) = elements(first_certificate(pem))
    _, content = next(elements(certificate))
    sequences = [one for tag, one in elements(content) if tag == 0x30]
    begin, end = (moment(*one) for one in elements(sequences[2]))  # after algorithm and issuer
    return begin, end


def elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each element of a text in DER (ITU-T X.690)."""
    while der:
        length, start = der[1], 2
        if length > 0x7F:
            start += length & 0x7F
            length = int.from_bytes(der[2:start], "big")
        yield der[0], der[start : start + length]
        der = der[start + length :]


def moment(tag: int, text: bytes) -> float:
    """Return a time of a certificate, which has four digits for the year from 2050 on."""
    century = "%y" if tag == 0x17 else "%Y"
    return calendar.timegm(time.strptime(text.decode(), f"{century}%m%d%H%M%SZ"))


def waiting(applied: Sequence[str], host: str) -> Iterator[Notice]:
    """Tell which services run files that an update has replaced, and whether a reboot is due.

    The host serves as before, so this is not a fault. Each notice names the next step.

    Args:
        applied: the services that an apply restarts for this reason, in the turn of the host.
        host: the id of this host.
    """
    old = sorted(outdated())
    lasting = [unit for unit in old if unit.partition("@")[0] in LASTING or "." in unit]
    turns = [unit for unit in old if unit in applied]
    others = [unit for unit in old if unit not in (*turns, *lasting)]
    why = "files that an update has replaced"
    if turns:
        yield _notice(
            "restart", f"{' '.join(turns)} still use {why}; next: salt {host} state.apply"
        )
    if others:
        step = f"next, on {host}: systemctl restart {' '.join(others)}"
        yield _notice("restart", f"{' '.join(others)} still use {why}; {step}")
    causes = [f"{' '.join(lasting)} still use {why}"] if lasting else []
    if REBOOT.exists():
        names = REBOOT.with_name(f"{REBOOT.name}.pkgs")
        packages = sorted({*names.read_text().split()}) if names.exists() else []
        causes.insert(0, f"{' '.join(packages) or 'a package'} needs it")
    if causes:
        step = f'next: reboot {host}, see "Reboot a host" in docs/operations.md'
        yield _notice("reboot", f"{', and '.join(causes)}; {step}")


def _notice(what: str, words: str) -> Notice:
    return f"{what} waits", True, words, True


def outdated(name: str = "") -> dict[str, list[str]]:
    """Return the units that still use program files which others have replaced, and these files.

    A process counts unless another process of its unit has started it: workers end with the process
    that started them, or soon after it, as after a reload.

    Args:
        name: the only unit to look at, without `.service`; all of them by default.
    """
    entries = [int(entry) for entry in os.listdir(PROC) if entry.isdigit()]
    units = {entry: unit for entry in entries if (unit := unit_of(entry)) and name in ("", unit)}
    found: dict[str, set[str]] = {}
    for process, unit in units.items():
        try:
            if units.get(int(status_of(process)[1])) != unit:
                files = replaced(Path(PROC, str(process), "maps").read_text())
                found.setdefault(unit, set()).update(files)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return {unit: sorted(files) for unit, files in found.items() if files}


def unit_of(process: int) -> str:
    """Return the unit of a process: `nginx`, `mnt-nas.mount`, or "" outside of a service."""
    try:
        found = UNIT.search(Path(PROC, str(process), "cgroup").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has ended
    if not found:
        return ""
    return found[1] if found[2] == "service" else f"{found[1]}.{found[2]}"


def replaced(maps: str) -> list[str]:
    """Return the program files of a process that were replaced since it began, as an upgrade does.

    Source: proc(5), /proc/PID/maps.

    Args:
        maps: the content of that file.
    """
    gone = [
        fields[5].removesuffix(" (deleted)")
        for line in maps.splitlines()
        if line.endswith(" (deleted)")
        and len(fields := line.split(maxsplit=5)) == 6
        and "x" in fields[1]
    ]
    return sorted({path for path in gone if path.startswith(PROGRAMS)})


def unit(name: str) -> Iterator[Check]:
    """Check that a unit of systemd is active."""
    [state] = unit_states([name])
    yield name, state == "active", state


def applied(
    folder: str, predicts: bool, alarm_days: int, apply_days: int, host: str
) -> Iterator[Check | Notice]:
    """Tell how the last apply of this host ended, and what another one would change.

    Both are notices at first: settings that wait for an apply are the usual reason. Nobody has
    cared for them after some days, so they are faults then.

    Args:
        folder: the directory of the records (salina.applied.record).
        predicts: whether the host predicts an apply once a day.
        alarm_days: the days after which such a notice is a fault.
        apply_days: the days after the last apply from which on there is a notice.
        host: the id of this host.
    """
    last, predicted = (_record(Path(folder, f"{name}.json")) for name in ("last", "predicted"))
    now = time.time()
    ended = float(last.get("ended", 0))
    again = f"next: salt {host} state.apply"
    if not last:
        yield "apply", True, f"none is recorded; {again}", True
    elif last["failed"]:
        # each try renews the end
        since = now - float(last.get("since", ended))
        words = f"failed {_ago(now - ended)} ago: {_few(last['failed'])}; {again}"
        yield _aged("apply", words, since, alarm_days)
    elif now - ended > apply_days * 86_400:
        yield "apply", True, f"the last one was {_ago(now - ended)} ago; {again}", True
    else:
        yield "apply", True, ""
    begun = float(predicted.get("begun", 0))
    if begun > ended and (predicted["changes"] or predicted["failures"]):
        since = now - float(predicted["since"])
        parts = [f"an apply would change {_few(predicted['changes'])}"] * bool(predicted["changes"])
        parts += [f"it would fail: {_few(predicted['failures'])}"] * bool(predicted["failures"])
        words = f"{'; '.join(parts)}, for {_ago(since)}; next: salt-run fleet.plan"
        yield _aged("drift", words, since, alarm_days)
    elif predicts and last and (silent := now - max(begun, ended) - SELDOM) > 0:
        words = f"the last prediction was {_ago(now - begun)} ago" if begun else "no prediction yet"
        yield _aged("drift", f"{words}; see journalctl -u salina-drift", silent, alarm_days)
    else:
        yield "drift", True, ""


def updated(settings: str, alarm_days: int, stamps: str = STAMPS) -> Iterator[Check | Notice]:
    """Tell whether the lists of packages are fetched, and security updates tried, day by day.

    apt's own services never fail. They write a stamp when all went well
    (/usr/lib/apt/apt.systemd.daily). A mirror may be away for a day or two.

    Args:
        settings: the file with the settings of the updates. Without a stamp its age counts.
        alarm_days: the days after which the notice is a fault.
        stamps: the directory of the stamps.
    """
    begun = Path(settings).stat().st_mtime
    for stamp, what, unit in (
        ("update-stamp", "the lists of packages were last fetched", "apt-daily"),
        ("upgrade-stamp", "security updates were last tried", "apt-daily-upgrade"),
    ):
        file = Path(stamps, stamp)
        age = time.time() - (file.stat().st_mtime if file.exists() else begun)
        if age > SELDOM:
            words = f"{what} {_ago(age)} ago; see journalctl -u {unit}"
            yield _aged("updates", words, age - SELDOM, alarm_days)
            return
    yield "updates", True, ""


def _record(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}


def _aged(what: str, words: str, seconds: float, days: int) -> Check | Notice:
    """Return a notice, or a fault after some days."""
    return (what, False, words) if seconds >= days * 86_400 else (what, True, words, True)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _ago(seconds: float) -> str:
    """Return a time in words: 3 days."""
    for name, length in (("days", 86_400), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {name}"
    return f"{max(0.0, seconds) // 60:.0f} minutes"


def salt(port: int) -> Iterator[Check]:
    """Check that the minion has a connection to its master, over which it gets its jobs.

    Args:
        port: the port at which the master publishes them.
    """
    connected = any(end == port for state, _, end, _ in connections() if state == ESTABLISHED)
    words = "not connected to the master; see journalctl -u salt-minion"
    yield "salt", connected, "" if connected else words


def connections() -> Iterator[tuple[str, int, int, str]]:
    """Yield the state, both ports (own and other) and the inode of each TCP socket of this host."""
    for table in ("tcp", "tcp6"):
        try:
            rows = [line.split() for line in (PROC / "net" / table).read_text().splitlines()[1:]]
        except OSError:
            continue  # there is no IPv6
        for row in rows:
            own, other = (int(end.rpartition(":")[2], 16) for end in row[1:3])
            yield row[3], own, other, row[9]


# Storage


def gluster_xml(*commands: str) -> list[Element]:
    """Return the answers of GlusterFS's command line, which takes longer to start than to answer.

    Raises:
        OSError: glusterd does not answer every command.
    """
    from xml.etree import ElementTree

    said = command("gluster", "--mode=script", "--xml", given="\n".join([*commands, ""]))
    answers = re.findall(r"<cliOutput>.*?</cliOutput>", said, re.S)
    if len(answers) != len(commands):
        raise OSError(f"gluster's answer is not XML: {said.strip()}")
    return [ElementTree.fromstring(answer) for answer in answers]


def gluster(host: str) -> Iterator[Check]:
    """Check that all peers are connected, each volume is started, and this host's bricks work.

    Each host looks at its own bricks. The question for all of them (`gluster volume heal info`)
    starts a client of the volume and takes seconds, and every host would ask it.

    Args:
        host: the id of this host, by which the volumes know its bricks.
    """
    status, info = gluster_xml("peer status", "volume info")
    peers = [peer.findtext("connected") for peer in status.iter("peer")]
    away = len([peer for peer in peers if peer != "1"])
    yield "peers", not away, f"{len(peers) - away} of {len(peers)} connected"
    volumes = info.findall(".//volume")
    if not volumes:
        yield "volume", False, "none"
    running = list(processes())
    for volume in volumes:
        name, state = volume.findtext("name") or "", volume.findtext("statusStr") or ""
        yield f"volume {name}", state == "Started", state.lower()
        bricks = [(brick.findtext("name") or "").partition(":") for brick in volume.iter("brick")]
        own = [path for place, _, path in bricks if place == host]
        for path in own:
            yield brick(path, running) if state == "Started" else space(path)
        if state == "Started" and own and volume.findtext("replicaCount") != "1":
            yield heal(own, running)


def spare() -> Iterator[Check]:
    """Check that a storage host without a brick can join the pool: it answers, and is in none."""
    [status] = gluster_xml("peer status")
    names = [peer.findtext("hostname") or "" for peer in status.iter("peer")]
    advice = "remove the host that this one replaces from pillar/topology.yaml, and apply"
    words = f"in a pool with {', '.join(names)}; {advice}" if names else "in no pool, as it must be"
    yield "spare", not names, words


def brick(path: str, running: Sequence[tuple[int, list[str]]]) -> Check:
    """Check that a brick's process runs, and that its disk takes writes: not below one percent."""
    what, good, detail = space(path)
    serving = [
        process
        for process, line in running
        if "glusterfsd" in line[0] and ("--brick-name", path) in itertools.pairwise(line)
    ]
    if not serving:
        return what, False, f"{detail}, its process does not run"
    if status_of(serving[0])[0] in "TtZ":
        return what, False, f"{detail}, its process is stopped"
    return what, good, detail


def space(path: str) -> Check:
    """Check that the disk of a brick has free space."""
    found = os.statvfs(path)
    share = found.f_bavail * 100 // found.f_blocks
    return f"brick {path}", share > 0, f"{share} % free"


def heal(bricks: Sequence[str], running: Sequence[tuple[int, list[str]]]) -> Check:
    """Check that no file of this host's bricks waits to be healed, and that the healer runs.

    A brick has a link in this directory for each file whose other copies missed a write. One
    process heals all volumes, and its command line names the first of them.
    """
    waiting = sum(
        not name.startswith("xattrop-")
        for brick in bricks
        for name in os.listdir(f"{brick}/.glusterfs/indices/xattrop")
    )
    detail = f"{waiting} entries to heal"
    if not any(word.startswith("shd/") for _, line in running for word in line):
        return "heal", False, f"{detail}, the self-heal daemon does not run"
    return "heal", not waiting, detail


def mount(path: str) -> Iterator[Check]:
    """Check that the client of a mounted volume is connected to each brick.

    It goes on without some of them, so the application notices nothing. A dead client is the
    agent's finding (`files`), and here none.

    Args:
        path: where the volume is mounted.
    """
    try:
        away, count = unconnected(path)
    except FileNotFoundError:
        yield "mount", False, f"no volume is mounted at {path}; apply the states of this host"
        return
    except OSError:
        return
    words = f"connected to {count - len(away)} of {count} bricks"
    yield "mount", bool(count) and not away, "; ".join([words, *away])


def unconnected(path: str) -> tuple[list[str], int]:
    """Return the bricks to which the client of a mounted volume has no connection, and of how many.

    Args:
        path: where the volume is mounted.

    Raises:
        OSError: no volume is mounted there, or its client does not answer.
    """
    clients = [
        Path(path, CLIENTS, name)
        for name in sorted(os.listdir(Path(path, CLIENTS)))
        if "-client-" in name
    ]
    away = [
        ":".join((client / "options" / name).read_text().strip() for name in BRICK)
        for client in clients
        if "connected = 1" not in map(str.strip, (client / "private").read_text().splitlines())
    ]
    return sorted(away), len(clients)


# Quorum and database


def etcd(address: str, port: int) -> Iterator[Check]:
    """Check that the member of etcd has a quorum.

    etcd answers 200 only if there is a leader, no alarm (such as a full database), and if a read
    that needs the majority succeeds.
    """
    status, body = get(address, port, "/health", caller="etcd")
    yield (
        "etcd",
        status == 200,
        "healthy" if status == 200 else f"HTTP {status}: {body.strip()[:80]}",
    )


def patroni(
    address: str, port: int, maximum_lag: int, synchronous: bool, host: str
) -> Iterator[Check]:
    """Check that this member works, that one member leads, and that commits are on two hosts.

    Args:
        address: the address of the member's REST interface.
        port: its port.
        maximum_lag: the most bytes that a replica may be behind.
        synchronous: whether the primary must have a synchronous standby.
        host: the id of this host, which is the name of the member.
    """
    status, body = get(address, port, "/cluster", caller="host")
    if status != 200:
        yield "patroni", False, f"HTTP {status}"
        return
    cluster = json.loads(body)
    yield from members(cluster["members"], host, maximum_lag, synchronous)
    if cluster.get("pause"):
        yield "failover", False, "paused, so a dead primary is not replaced; see patronictl resume"


def members(
    found: Sequence[Mapping[str, Any]], here: str, maximum_lag: int, synchronous: bool
) -> Iterator[Check]:
    """Judge the members of the cluster from the view of one of them.

    Args:
        found: the members in Patroni's answer to `GET /cluster`.
        here: the id of this host.
        maximum_lag: the most bytes that a replica may be behind, received or applied.
        synchronous: whether the primary must have a synchronous standby.
    """
    mine = next((one for one in found if one["name"] == here), None)
    leads = any(one["role"] == "leader" and one["state"] == "running" for one in found)
    faults = [] if leads else ["there is no leader"]
    if mine is None:
        yield "patroni", False, "; ".join(["not a member", *faults])
        return
    state = f"{mine['role']} {mine['state']}"
    leader = mine["role"] == "leader"
    lags = [mine[key] for key in ("lag", "replay_lag") if key in mine]
    known = [one for one in lags if isinstance(one, int)]
    behind = max(known, default=0) if known == lags else "unknown"
    if behind:
        state += f", lag {behind} bytes"
    if not leader and mine["state"] != "streaming":
        faults.append("it does not stream from the primary")
    elif not leader and (not isinstance(behind, int) or behind > maximum_lag):
        faults.append(f"the lag must be at most {maximum_lag} bytes")
    yield (
        "patroni",
        not faults and mine["state"] in ("running", "streaming"),
        "; ".join([state, *faults]),
    )
    if leader and synchronous:
        standbys = [one["name"] for one in found if one["role"] in STANDBY]
        words = " ".join(standbys) or "none, so the primary alone stores new commits"
        yield "synchronous standby", bool(standbys), words


# Balancer and application


def backup(
    stanza: str, hours: int, record: str, days: int, applications: bool = False
) -> Iterator[Check | Notice]:
    """Check on the backup host that the day's backup is there, none is damaged, and one was tried.

    Args:
        stanza: pgBackRest's name for the cluster.
        hours: the greatest age of the newest backup.
        record: the file of the last restore drill.
        days: the greatest age of that drill.
        applications: whether drills start applications. One that was not started is a notice.
    """
    asked = ("pgbackrest", f"--stanza={stanza}", "--output=json", "--log-level-console=off", "info")
    [found] = json.loads(command("runuser", "-u", "postgres", "--", *asked))
    backups = found.get("backup", [])
    if found["status"]["code"] or not backups:
        yield "backup", False, f"{found['status']['message']}; apply the states of this host"
        return
    age = (time.time() - backups[-1]["timestamp"]["stop"]) / 3600
    late = f"the newest is {age:.0f} hours old; see journalctl -u 'salina-backup@*'"
    yield "backup", age <= hours, "" if age <= hours else late
    damaged = [one["label"] for one in backups if one.get("error")]
    if damaged:
        yield "backups", False, f"damaged: {' '.join(damaged)}"
    began = backups[0]["timestamp"]["stop"]
    yield from _drilled(Path(record), days, (time.time() - began) / 86400, applications)


def _drilled(record: Path, days: int, since: float, applications: bool) -> Iterator[Check | Notice]:
    """Judge the record of the last restore drill.

    Args:
        record: its file.
        days: the greatest age of the drill.
        since: the days since the first backup.
        applications: whether drills start applications.
    """
    again = "; salt-run state.orchestrate orch.restore_drill"
    try:
        last = json.loads(record.read_text())
    except FileNotFoundError:
        yield "restore drill", since <= days, "" if since <= days else f"there was none{again}"
        return
    age = (time.time() - last["ended"]) / 86400
    if not last["good"]:
        failed = [f"{name}: {fault}" for name, fault in last.get("failed", {}).items()]
        yield "restore drill", False, f"{'; '.join([*last['faults'], *failed])}{again}"
    elif age <= days and applications and last.get("skipped"):
        words = f"it did not start {', '.join(last['skipped'])}"
        yield "restore drill", True, words, True
    else:
        late = f"the last was {age:.0f} days ago{again}"
        yield "restore drill", age <= days, "" if age <= days else late


def files_copied(directory: str, sources: list[str], minutes: int) -> Iterator[Check]:
    """Check on the backup host that the users' files of every source were copied lately.

    restic writes a file for each copy. Whether they can be read, a restore drill finds out.

    Args:
        directory: the directory of the repositories.
        sources: their names.
        minutes: the greatest age of the newest copy.
    """
    for source in sources:
        repository = Path(directory) / source
        copies = list(_written(repository / "snapshots"))
        age = (time.time() - max(copies or [(repository / "config").stat().st_mtime])) / 60
        what = f"the newest copy is {age:.0f} minutes old" if copies else "there is no copy"
        told = f"{what}; see journalctl -t salina-files on the hosts with files"
        yield f"files of {source}", age <= minutes, "" if age <= minutes else told


def master_saved(directory: str, hours: int) -> Iterator[Check]:
    """Check on the backup host that the master's own state was saved lately.

    Args:
        directory: the directory of the copies.
        hours: the greatest age of the newest copy. The master makes one a day at least.
    """
    place = Path(directory)
    copies = list(_written(place))
    age = (time.time() - max(copies or [place.stat().st_mtime])) / 3600
    what = f"the newest copy is {age:.0f} hours old" if copies else "there is no copy"
    told = f"{what}; next: salt-run backup.save_master"
    yield "master's state", age <= hours, "" if age <= hours else told


def second_repository(
    record: str, settings: str, minutes: int, compared: str, days: int
) -> Iterator[Check]:
    """Check on the backup host that the second repository is up to date, and was read lately.

    Args:
        record: the file of the last complete mirror.
        settings: the file that has the place. Before the first mirror there its age counts.
        minutes: the greatest age.
        compared: the file of the last comparison of the two repositories.
        days: its greatest age.
    """
    own = Path(settings)
    if not own.exists():
        yield "second repository", False, "not set up yet; apply the states of this host"
        return
    place, began = json.loads(own.read_text())["place"]["words"], own.stat().st_mtime
    found = [_record(Path(one)) for one in (record, compared)]
    last, read = (one if one.get("place") == place else {} for one in found)
    age = (time.time() - last.get("began", began)) / 60
    what = f"the last mirror is {age:.0f} minutes old" if last else "there is no mirror"
    late = f"{what}; see journalctl -u salina-second"
    yield "second repository", age <= minutes, "" if age <= minutes else late
    age = (time.time() - read.get("ended", began)) / 86_400
    what = "last compared" if read else "never compared, and set"
    words = "" if age <= days else f"{what} {age:.0f} days ago; next: salt-run backup.compare"
    if damaged := read.get("damaged"):
        again = "next: salt-run backup.mirror; salt-run backup.compare"
        words = f"damaged: {_few(damaged)}; delete it at the place; {again}"
    yield "second repository's files", not words, words


def logs(hosts: Sequence[str], directory: str = KEPT) -> Iterator[Check | Notice]:
    """Tell on the monitoring host whose logs do not arrive any more.

    The other host may be down, and then others say so. Its services do not need its logs.

    Args:
        hosts: the ids of all hosts.
        directory: the directory with a directory of each host.
    """
    newest = {
        host: max(_written(place), default=0.0)
        for host in hosts
        if (place := Path(directory, host)).is_dir()
    }
    old = [host for host in hosts if time.time() - newest.get(host, 0.0) > QUIET]
    if old:
        step = "next, on each of them: journalctl -u systemd-journal-upload"
        words = f"no new lines of {', '.join(old)} for {QUIET / 3600:.0f} hours; {step}"
        yield "logs", True, words, True
    else:
        yield "logs", True, ""


def mails(spool: str, minutes: int) -> Iterator[Check]:
    """Check on the monitoring host that the mail server takes the mails.

    Args:
        spool: the directory with those that wait (`queue`), and that were refused (`failed`).
        minutes: how long a mail may wait.
    """
    waiting, refused = ([*_written(Path(spool, name))] for name in ("queue", "failed"))
    words = []
    if (age := (time.time() - min(waiting, default=time.time())) / 60) > minutes:
        words.append(f"{len(waiting)} wait for the mail server, the first for {age:.0f} minutes")
    if refused:
        words.append(f"the mail server refused {len(refused)}, which are in {spool}/failed")
    told = "; ".join([*words, "see journalctl -u nullmailer"]) if words else ""
    yield "mails", not words, told


def _written(directory: Path) -> Iterator[float]:
    """Yield when each file of a directory was written. Files may vanish meanwhile."""
    for path in directory.iterdir():
        with suppress(FileNotFoundError):
            yield path.stat().st_mtime


OVERRIDDEN = r"""
SELECT json_build_object(
    'overridden', ARRAY(
        SELECT DISTINCT s.name FROM pg_settings AS s
        JOIN pg_file_settings AS own ON lower(own.name) = lower(s.name)
        JOIN pg_file_settings AS auto ON lower(auto.name) = lower(s.name)
        WHERE own.sourcefile LIKE '%/postgresql.conf' AND s.source <> 'command line'
            AND auto.sourcefile LIKE '%/postgresql.auto.conf' ORDER BY s.name
    ),
    'now', (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name LIKE 'archive\_%')
)
"""
"""The query for the parameters that Patroni has in its file, and `ALTER SYSTEM` in another one,
which PostgreSQL reads last; and for the present values of those that archive WAL.
"""


def parameters(port: int, archiving: Mapping[str, str]) -> Iterator[Check]:
    """Check that PostgreSQL runs with the parameters that Patroni has written for it.

    Patroni's own view is that of its file. Other values than those of the settings in its shared
    configuration are drift, which a prediction finds.

    Args:
        port: PostgreSQL's port.
        archiving: the parameters with which WAL reaches the repository, and their values.
    """
    found = json.loads(sql(port, "--file=-", given=OVERRIDDEN))
    words = []
    if others := found["overridden"]:
        words.append(
            f"ALTER SYSTEM has replaced {_few(others)}; next: ALTER SYSTEM RESET and SELECT "
            "pg_reload_conf(), on a replica after its line in postgresql.auto.conf is deleted"
        )
    now = found["now"] or {}
    wrong = [name for name, value in archiving.items() if now.get(name, value) != value]
    if wrong := [name for name in wrong if name not in others]:
        words.append(f"{_few(wrong)} would not archive the WAL; apply the states of this host")
    yield "parameters", not words, "; ".join(words)


PATIENCE = 60
"""Seconds after which WAL should have arrived in the repository; usually it takes one or two."""
SHARE = 4
"""WAL that waits may take one part of so many of the room that it could have."""


def autoscale(record: str = AUTOSCALED) -> Iterator[Check]:
    """Check on the master that autoscaling does not fail again and again.

    Args:
        record: the file of its failures in a row.
    """
    known = _record(Path(record))
    failed = [
        known[what]
        for what, bound in FAILURES.items()
        if known.get(what, {}).get("times", 0) >= bound
    ]
    words = "; ".join(
        f"failed {one['times']} times in a row, for {_ago(time.time() - one['since'])}: "
        f"{one['error']}"
        for one in failed
    )
    yield "autoscaling", not failed, f"{words}; next: salt-run autoscale.evaluate" if failed else ""


def archiving(port: int) -> Iterator[Check]:
    """Check on the primary that its WAL arrives in the repository. It keeps what does not.

    Args:
        port: PostgreSQL's port.
    """
    statement = (
        "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready' "
        f"AND NOT pg_is_in_recovery() AND modification < now() - interval '{PATIENCE} seconds'"
    )
    waiting = int(sql(port, f"--command={statement}"))
    told = f"{waiting} files of WAL wait on this disk; see journalctl -u patroni"
    yield "archiving", not waiting, told if waiting else ""


def kept_wal(port: int, stanza: str, files: str, record: str) -> Iterator[Check]:
    """Check on the primary that WAL which waits leaves room, and that none was given up.

    Args:
        port: PostgreSQL's port.
        stanza: pgBackRest's name for the cluster.
        files: the directory of the cluster.
        record: the file that PostgreSQL touches when it gives up WAL (salina.backup.pgbackrest).
    """
    statement = (
        "SELECT count(*) * pg_size_bytes(current_setting('wal_segment_size')), "
        "coalesce(extract(epoch FROM now() - min(modification)), 0)::bigint "
        "FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready' AND NOT pg_is_in_recovery()"
    )
    waiting, seconds = map(int, sql(port, f"--command={statement}").split("|"))
    disk = os.statvfs(files)
    words = crowded(waiting, seconds, disk.f_bavail * disk.f_frsize)
    yield "room for WAL", not words, words
    try:
        at = Path(record).stat().st_mtime
    except FileNotFoundError:
        return
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
    words = (
        f"the disk was almost full, so WAL was given up at {since}: no moment from then until the "
        "next backup can be restored; next, on the master: salt-run state.orchestrate orch.backup"
    )
    yield "gap in the WAL", (good := _backed_up_since(stanza, at)), "" if good else words


def crowded(waiting: int, seconds: int, free: int) -> str:
    """Return why WAL that waits takes too much of a disk, or "".

    Args:
        waiting: its bytes.
        seconds: how long the oldest of it waits.
        free: the bytes that are free.
    """
    if seconds <= PATIENCE or waiting * SHARE <= waiting + free:
        return ""
    hours = free * seconds / waiting / 3600
    return (
        f"{waiting >> 20} MiB of WAL wait and {free >> 20} MiB are free, at this rate for "
        f"{hours:.0f} hours; start the backup host or give the disk room"
    )


def _backed_up_since(stanza: str, at: float) -> bool:
    """Return whether a backup has begun since a moment."""
    asked = ("pgbackrest", f"--stanza={stanza}", "--output=json", "--log-level-console=off")
    try:
        said = command("runuser", "-u", "postgres", "--", *asked, "--io-timeout=1", "info")
        return any(
            one["timestamp"]["start"] > at
            for found in json.loads(said)
            for one in found.get("backup", [])
        )
    except OSError:  # the repository does not answer
        return False


def queue(port: int, login: str) -> Iterator[Check]:
    """Check that no client of pgbouncer waits long for a connection to the database.

    The pool's own counters say so. A question to the database would only wait as well.

    Args:
        port: pgbouncer's port on loopback.
        login: the file that has the application's user and its password (`database`).
    """
    own = json.loads(Path(login).read_text())["database"]
    argv = ("psql", "-XAq", "--csv", "--no-password", "--host=127.0.0.1", f"--port={port}")
    variables = {"PGPASSWORD": own["password"], "PGCONNECT_TIMEOUT": "4"}
    asked = (*argv, f"--username={own['user']}", "--dbname=pgbouncer", "--command=SHOW POOLS")
    yield "queue", not (found := waiting_clients(command(*asked, variables=variables))), found


def waiting_clients(pools: str) -> str:
    """Return which pools have clients that wait too long, or "".

    Args:
        pools: pgbouncer's answer to `SHOW POOLS`, as CSV.
    """
    faults = []
    for row in csv.DictReader(pools.splitlines()):
        seconds = int(row["maxwait"])
        if seconds >= PATIENT:
            clients = f"{row['cl_waiting']} clients of {row['database']} wait for a connection"
            faults.append(f"{clients}, the first one for {seconds} s")
    return "; ".join(faults)


def leftover(port: int, applications: Sequence[str]) -> Iterator[Notice]:
    """Notice on the primary a database of an application that has left the topology.

    Each application's database belongs to a role of its own name, so others do not count.

    Args:
        port: PostgreSQL's port.
        applications: those of the topology.
    """
    statement = (
        "SELECT datname FROM pg_database WHERE datname = pg_get_userbyid(datdba) "
        "AND NOT datistemplate AND datname <> 'postgres' AND NOT pg_is_in_recovery()"
    )
    for name in sql(port, f"--command={statement}").split():
        if name not in applications:
            asked = json.dumps({"application": name})
            step = f"salt-run state.orchestrate orch.remove pillar='{asked}'"
            words = f"application {name} has left the topology and its data is here; next: {step}"
            yield "leftover", True, words, True


def jobs(port: int, within: Mapping[str, int]) -> Iterator[Check | Notice]:
    """Check on the primary that the scheduled jobs of applications run, whichever host does it.

    Elsewhere each of them is good, so that every host that is asked has an answer.

    Args:
        port: PostgreSQL's port.
        within: an application -> the seconds in which one of its jobs must end, if any is due.
    """
    for name, seconds in within.items():
        try:
            said = sql(port, f"--dbname={name}", f"--command={JOBS}").strip()
        except OSError as error:
            if not any(f"{one} does not exist" in str(error) for one in (f'"{name}"', '"ir_cron"')):
                raise
            said = ""  # nobody has initialised it yet, as the application's hosts say
        what = f"jobs of {name}"
        yield overdue(what, json.loads(said), seconds) if said else (what, True, "")


def overdue(what: str, told: Mapping[str, Any], within: int) -> Check | Notice:
    """Judge the scheduled jobs of an application.

    A job that ends moves both of its times. So a backlog, as after a night without the application,
    is good while the jobs run. A copy of a database, or one that was away, has old times.

    Args:
        what: the name of the check.
        told: the answer to JOBS.
        within: as in `jobs`.
    """
    known, ended = told["known"], told["ended"]
    due = {job: min(seconds, known) for job, seconds in told["due"].items()}
    idle = known if ended is None else min(ended, known)
    see = "see the application's log on its hosts"
    if min(idle, max(due.values(), default=0.0)) > within:
        words = f"none has ended for {_ago(idle)}, and these are due: {_few([*due])}; {see}"
        return what, False, words
    stuck = [job for job, seconds in due.items() if seconds > max(STUCK, within)]
    if stuck:
        words = f"due for more than {_ago(max(STUCK, within))}, and not ended: {_few(stuck)}; {see}"
        return what, True, words, True
    return what, True, ""


def haproxy() -> Iterator[Check]:
    """Check that the balancer's backends have all servers, and the way to the database has one."""
    yield from backends(ask(HAPROXY, "show stat\n"))


def backends(text: str) -> Iterator[Check]:
    """Judge HAProxy's statistics: all servers must be up; of the databases only the primary is.

    A server without a health check does not count: it is a placeholder, and nobody knows its state
    (salt/database_route).

    Args:
        text: CSV, as `show stat` prints it.
    """
    servers: dict[str, dict[str, str]] = {}
    for row in csv.DictReader(text.removeprefix("# ").splitlines()):
        if row["svname"] not in ("FRONTEND", "BACKEND") and row["status"] != "no check":
            servers.setdefault(row["pxname"], {})[row["svname"]] = row["status"]
    for name, found in servers.items():
        down = {server: state for server, state in found.items() if not state.startswith("UP")}
        route = name == "database"
        good = len(down) < len(found) if route else not down
        words = "" if route else "".join(f"; {server} is {state}" for server, state in down.items())
        yield f"haproxy {name}", good, f"{len(found) - len(down)} of {len(found)} up{words}"


def alerts(port: int, root: str) -> Iterator[Notice]:
    """Tell which alerts Prometheus has. They are about trends; Nagios has alarms for faults.

    Args:
        port: Prometheus' port on loopback.
        root: the path under which it serves.
    """
    status, answer = get("127.0.0.1", port, f"{root}/api/v1/alerts")
    if status != 200:
        raise OSError(f"Prometheus answers with HTTP {status}")
    if found := firing(json.loads(answer)):
        more = f" And {len(found) - SHOWN} more." if len(found) > SHOWN else ""
        yield "alerts", True, " ".join(found[:SHOWN]) + more, True


def firing(answer: Mapping[str, Any]) -> list[str]:
    """Return the alerts that Prometheus has, each once: its name and a sentence.

    Args:
        answer: its answer to the question for its alerts.
    """
    found = [
        f"{one['labels']['alertname']}: {one['annotations']['summary']}"
        for one in answer["data"]["alerts"]
        if one["state"] == "firing"
    ]
    return list(dict.fromkeys(found))


def agent() -> Iterator[Check]:
    """Check that the health agent of an app host finds no fault, as the balancers do."""
    answer = ask(AGENT, "GET / HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")
    yield from agreed(json.loads(answer.partition("\r\n\r\n")[2]))


def agreed(told: Mapping[str, Any]) -> Iterator[Check]:
    """Return the agent's view as checks: each of its own, and its verdict.

    Args:
        told: the agent's answer (salina.application.agent).
    """
    faults = {name: fault for name, fault in told["checks"].items() if fault}
    for name in told["checks"]:
        yield name, name not in faults, faults.get(name, "")
    good = told["status"] == 200
    reason = "" if good else told["reason"]
    if reason and told["status"] != 404 and faults:
        reason = "not asked"  # the faults above are the reason
    yield "app", good, reason.removeprefix("application: ")


def live(port: int) -> Iterator[Check]:
    """Check that the process for long requests listens, and does not start again and again.

    The application's master process starts it again at once, so its unit stays active. The check
    sends no request: the first one after a start may take longer than any check.

    Args:
        port: the process's port on loopback.
    """
    socket.create_connection(("127.0.0.1", port), WAIT).close()
    process = listener(port)
    parent = int(status_of(process)[1]) if process else 0
    if process and parent > 1:  # systemd counts its own restarts: see `system`
        yield young(age_of(process), age_of(parent))
    else:
        yield "live", True, ""


def young(age: float, parent: float) -> Check:
    """Judge the age of a process, in seconds, by the age of the process that started it."""
    again = age < RECENT / 2 and parent - age > RECENT
    return "live", not again, f"its process started again {age:.0f} s ago" if again else ""


def listener(port: int) -> int | None:
    """Return the oldest process that listens on a TCP port, or None."""
    inodes = {
        f"socket:[{inode}]"
        for state, own, _, inode in connections()
        if state == LISTENING and own == port
    }
    found = []
    for process, _ in processes():
        try:
            links = {os.readlink(file.path) for file in os.scandir(f"/proc/{process}/fd")}
        except OSError:
            continue  # it has ended, or a file of it has been closed
        if links & inodes:
            found.append((age_of(process), process))
    return max(found)[1] if found else None


# Monitoring


def nagios(status: str, late: int, services: Sequence[Sequence[str]]) -> Iterator[Check]:
    """Check that Nagios goes on with its checks, and show what it knows of the clients.

    Args:
        status: the file with its view of everything, which it writes every ten seconds.
        late: the seconds after which the newest check is too old.
        services: the host and the name of each service that says what clients see.
    """
    try:
        text, now = Path(status).read_text(), time.time()
        age = now - os.stat(status).st_mtime
    except FileNotFoundError:
        yield "nagios", False, "it does not run; see journalctl -u nagios4"
        return
    found = [*blocks(text)]
    own = [one for kind, one in found if kind == "servicestatus"]
    begun = [float(one["program_start"]) for kind, one in found if kind == "programstatus"]
    newest = max([*begun, *(float(one["last_check"]) for one in own)], default=0.0)
    if age > STALE:
        yield "nagios", False, f"it has written nothing for {_ago(age)}; restart nagios4"
    elif now - newest > late:
        yield "nagios", False, f"it has checked nothing for {_ago(now - newest)}; restart nagios4"
    else:
        yield "nagios", True, f"{len(own)} services"
    known = {(one["host_name"], one["service_description"]): one for one in own}
    started = now - max(begun, default=0.0) <= late
    for host, name in services:
        if (host, name) not in known and not started:
            yield name, False, "Nagios does not know it; apply the states of this host"
            continue
        one = known.get((host, name), {})
        # one bad result may be a blip: Nagios asks again before it takes a state for hard
        good = one.get("current_state", "0") in ("0", "1") or one.get("state_type") == "0"
        yield name, good, "" if good else one["plugin_output"]


def blocks(status: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the kind and the values of each block of Nagios' view of everything (status.dat)."""
    for kind, inside in re.findall(r"^(\w+) \{\n(.*?)^\t\}", status, re.S | re.M):
        lines = (line.strip().partition("=") for line in inside.splitlines())
        yield kind, {key: value for key, _, value in lines}


CHECKS: Mapping[str, Callable[..., Iterator[Check | Notice]]] = {
    check.__name__: check
    for check in (
        *(system, firewall, timekeeping, memory, disk, certificates, served, issued, unit, waiting),
        *(triggers, forwarding, closed, shared),
        *(applied, updated, salt, mount, queue),
        *(
            gluster,
            spare,
            etcd,
            patroni,
            archiving,
            kept_wal,
            leftover,
            jobs,
            parameters,
            backup,
            files_copied,
            master_saved,
            repositories,
            autoscale,
            second_repository,
            logs,
            mails,
            haproxy,
            agent,
            live,
            alerts,
            nagios,
        ),
    )
}


def probe(wanted: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Check | Notice]:
    """Return the results of all these checks."""
    return [check for found in each(wanted) for check in found]


def each(wanted: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[Check | Notice]]:
    """Return the results of each of these checks, which run side by side.

    A check that cannot be made counts as failed.

    Args:
        wanted: the name of each check, and its arguments.
    """
    results: list[list[Check | Notice]] = [[(name, False, "no answer")] for name, _ in wanted]

    def run(place: int) -> None:
        name, arguments = wanted[place]
        results[place] = made(name, arguments)

    threads = [
        threading.Thread(target=run, args=[place], daemon=True) for place in range(len(wanted))
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + LIMIT
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return list(results)


def made(name: str, arguments: Mapping[str, Any]) -> list[Check | Notice]:
    """Return the results of one check."""
    if name not in CHECKS:
        return [(name, False, "this host has no such check; synchronise it with the master")]
    found: list[Check | Notice] = []
    try:
        found += CHECKS[name](**arguments)
    except Stopped as error:
        found.append((name, True, str(error)))
    except Exception as error:  # whatever it is, the host cannot be called healthy
        found.append((name, False, cause(error)))
    return found


def cause(error: Exception) -> str:
    """Return an error as a few words."""
    if isinstance(error, FileNotFoundError):
        return f"not deployed ({os.path.basename(error.filename or 'a file')} is missing)"
    return " ".join(str(error).split())[:100]


def report(wanted: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return this host's `checks`, and its `clock` for comparison with the master's."""
    return {"checks": probe(wanted), "clock": time.time()}


if __name__ == "__main__":
    print(json.dumps(report(json.loads(sys.argv[1]))))
