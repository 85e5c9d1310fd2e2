"""Evidence: what a host can show of a requirement while it runs. Nothing here changes anything.

`salt-run verify.service` and `verify.security` have these functions called on each host
(_modules/verify.py). The files of fleet/salina_fleet/roles and kinds say which ones a host calls,
and with which arguments. The looks of this file are about security. Those of service.py are about
the service, and the checks of the host's health (health/probes.py) are looks as well.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from salina.application import release
from salina.balancer import haproxy
from salina.common import certificate, https, locks
from salina.common.https import NoAnswer, call, identity
from salina.health.probes import cause, command, has_ipv6, made, processes, timekeeping
from salina.management import accounts
from salina.verify import service
from salina.verify.seen import TLS, WAIT, Seen, get, unverified

LIMIT = 40.0
"""Seconds for all looks of a host. A look that takes longer is not good."""
TOGETHER = 4
"""The looks that a host makes side by side. More would keep each other from their answers."""
SSHD = "/usr/sbin/sshd"
KEYS_ONLY = {
    "permitrootlogin": "no",
    "passwordauthentication": "no",
    "kbdinteractiveauthentication": "no",
}
"""Settings of sshd, as `sshd -T` shows them."""
OPERATORS = "salina-operators"
KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
SCAN = 4
"""Seconds until a silent sshd is a fault; all are asked at the same time."""
GLUSTERD = 24007
VOLUMES = Path("/var/lib/glusterd/vols")
RESTRICTIONS = ("nosuid", "nodev", "noexec")
NAMES = {
    "TLS Web Server Authentication": "serverAuth",
    "TLS Web Client Authentication": "clientAuth",
}
"""OpenSSL's words for the purposes of a certificate."""


# Every host


def kernel(reverse_path: int) -> Iterator[Seen]:
    """Look at the kernel's settings for addresses that somebody forges.

    Args:
        reverse_path: the number that rp_filter must have on each interface.
    """
    ipv4, ipv6 = Path("/proc/sys/net/ipv4/conf"), Path("/proc/sys/net/ipv6/conf")
    wanted = [(ipv4, "rp_filter", reverse_path), (ipv4, "accept_redirects", 0)]
    wanted += [(ipv6, "accept_redirects", 0), (ipv6, "accept_ra", 0)]
    for folder, name, value in wanted:
        if not folder.exists():
            continue  # the host has no IPv6
        others = sorted(
            f"{one.name}: {found}"
            for one in folder.iterdir()
            if one.name not in ("all", "default", "lo")
            and (found := (one / name).read_text().strip()) != str(value)
        )
        yield Seen(f"{folder.parent.name} {name}", not others, ", ".join(others) or str(value))


def interfaces() -> Iterator[Seen]:
    """Look whether every rule that lets packets in names the interface that they come in on."""
    for tool, chain in _firewall("user-input"):
        accepting = [line for line in command(tool, "-S", chain).splitlines() if "ACCEPT" in line]
        others = [line for line in accepting if " -i " not in line]
        words = "each names its own" if accepting else "no rule lets packets in"
        if others:
            words = f"without an interface: {'; '.join(others)}"
        yield Seen(f"interfaces in {tool}", not others, words)


def outgoing(uid: int | None) -> Iterator[Seen]:
    """Look whether the kernel drops what no rule lets out, and what the application may not open.

    Args:
        uid: the number of the application's user, None on a host without an application.
    """
    for tool, chain in _firewall("before-output"):
        rules = command(tool, "-S").splitlines()
        closed = "-P OUTPUT DROP" in rules and f"-A OUTPUT -j {chain}" in rules
        words = "drops what no rule lets out" if closed else "every packet leaves the host"
        yield Seen(f"outgoing in {tool}", closed, words)
        if uid is not None:
            start, user = f"-A {chain} ", f" --uid-owner {uid} "
            own = [line for line in rules if line.startswith(start) and user in f"{line} "]
            refused = any(" -j REJECT" in line and " -d " not in line for line in own)
            words = "opens only what egress gives it" if refused else "opens what its host may"
            yield Seen(f"the application in {tool}", refused, words)


def _firewall(chain: str) -> list[tuple[str, str]]:
    """Return the tools of this host's firewall, each with its name of a chain of ufw."""
    found = [("iptables", f"ufw-{chain}")]
    return [*found, ("ip6tables", f"ufw6-{chain}")] if has_ipv6() else found


def time() -> Iterator[Seen]:
    """Look whether the clock follows a time server, by which certificates begin and end."""
    for what, good, words, *notice in timekeeping():
        yield Seen(what, good and not notice, words or "it follows its server")


def updates(enabled: bool) -> Iterator[Seen]:
    """Look whether security updates install themselves.

    Args:
        enabled: whether the settings say so.
    """
    state = subprocess.run(
        ["systemctl", "is-active", "apt-daily-upgrade.timer"],
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    ).stdout.strip()
    shown = command("apt-config", "dump", "APT::Periodic::Unattended-Upgrade")
    number = shown.partition('"')[2].partition('"')[0]
    good = enabled and state == "active" and number == "1"
    words = f"the timer is {state}, Unattended-Upgrade is {number or 'not set'}"
    yield Seen("security updates", good, words if enabled else "the settings switch them off")


def sshd() -> Iterator[Seen]:
    """Look whether sshd, where it is installed, takes keys only and no root."""
    if not Path(SSHD).exists():
        yield Seen("sshd", True, "not installed")
        return
    found = dict(line.partition(" ")[::2] for line in command(SSHD, "-T").splitlines())
    wrong = [
        f"{name} {found.get(name, 'not set')}"
        for name, value in KEYS_ONLY.items()
        if found.get(name) != value
    ]
    yield Seen("sshd", not wrong, ", ".join(wrong) or "keys only, no root")


def certificates(wanted: Sequence[Mapping[str, Any]]) -> Iterator[Seen]:
    """Look whether each certificate has its purposes and no others, and renews by itself.

    Args:
        wanted: the name of each certificate, and its purposes; null where another CA than the
            fleet's decides.
    """
    for one in wanted:
        uses = ["another CA decides the purposes"]
        if one["uses"] is not None:
            shown = command(
                *("openssl", "x509", "-noout", "-ext", "extendedKeyUsage"),
                *("-in", f"{TLS}/{one['name']}.crt"),
            )
            words = [word.strip() for word in shown.splitlines()[-1].split(",")]
            uses = [NAMES.get(word, word) for word in words]
        mode = stat.S_IMODE(os.stat(f"{TLS}/{one['name']}.key").st_mode)
        good = one["uses"] is None or sorted(uses) == sorted(one["uses"])
        good = good and not mode & 0o007
        yield Seen(f"certificate {one['name']}", good, f"{', '.join(uses)}; the key is {mode:o}")
    state = command("systemctl", "is-active", "salina-certificates.timer").strip()
    yield Seen("renewal", state == "active", f"the timer is {state}")


# App hosts


def mount(path: str) -> Iterator[Seen]:
    """Look whether the volume is mounted without rights for programs and devices.

    Args:
        path: where it is mounted.
    """
    rows = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    options = [row[3].split(",") for row in rows if row[1] == path]
    if not options:
        yield Seen(path, False, "not mounted")
        return
    missing = [name for name in RESTRICTIONS if name not in options[-1]]
    words = f"without {', '.join(missing)}" if missing else ", ".join(RESTRICTIONS)
    yield Seen(path, not missing, words)


def local(paths: Sequence[str], volume: str) -> Iterator[Seen]:
    """Look whether places that programs load code from are on the host's own disk.

    Args:
        paths: the places.
        volume: where the volume is mounted.
    """
    for path in paths:
        real = os.path.realpath(path)
        good = os.path.exists(real) and not f"{real}/".startswith(f"{volume}/")
        yield Seen(path, good, real if os.path.exists(real) else "does not exist")


def ports(below: int) -> Iterator[Seen]:
    """Look whether the kernel reserves the ports of services.

    Args:
        below: the first port that every process may bind.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    yield Seen("reserved ports", first >= below, f"the ports below {first}")


def logs(folder: str) -> Iterator[Seen]:
    """Look whether nobody but a daemon's own users can read its logs.

    Args:
        folder: the directory of the logs.
    """
    opened = [one.name for one in Path(folder).iterdir() if one.stat().st_mode & 0o007]
    yield Seen(
        folder, not opened, f"everybody reads {', '.join(sorted(opened))}" if opened else "closed"
    )


def runs(link: str, wanted: str) -> Iterator[Seen]:
    """Look whether the application runs the recorded release, and whether its files are unchanged.

    Args:
        link: the link to the release that runs.
        wanted: the release's name.
    """
    found = release.active(link)
    yield Seen(link, found == wanted, found)
    changed = release.Release(Path(os.path.realpath(link))).changed()
    yield Seen(os.path.realpath(link), not changed, ", ".join(changed[:5]) or "unchanged")


def environment(path: str) -> Iterator[Seen]:
    """Look whether every file of an environment of Python was compared with a hash.

    Args:
        path: the environment.
    """
    record = json.loads((Path(path) / "salina.json").read_text())
    if not record["lock"]:
        yield Seen(path, False, "built from requirements without hashes: nothing was verified")
        return
    faults = locks.faults("\n".join(record["requirements"]))
    yield Seen(path, not faults, "; ".join(faults) or "every file was compared with its hash")


def encrypted(address: str, port: int, name: str, plain: int | None) -> Iterator[Seen]:
    """Look whether the web server proves its host's id, and answers balancers only.

    Args:
        address: its address.
        port: its port with TLS.
        name: the host's id.
        plain: the port that must be closed; None for a host that is its own balancer.
    """
    context = ssl.create_default_context(cafile=f"{TLS}/ca.crt")
    status = https.status(context, name, address, port, "/", {"Host": name}, WAIT)
    yield Seen(f"port {port} without a certificate", status == 400, f"HTTP {status}")
    if plain is not None:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as asked:
            asked.settimeout(WAIT)
            closed = asked.connect_ex((address, plain)) != 0
        words = "closed" if closed else "open, because a balancer may use it; apply again later"
        yield Seen(f"port {plain}", closed, words)


# Storage hosts


def files(names: Mapping[str, Sequence[str]]) -> Iterator[Seen]:
    """Look whether GlusterFS uses TLS, and takes the certificates of the right hosts only.

    Args:
        names: the hosts that may use each volume.
    """
    yield _encrypted("glusterd", GLUSTERD)
    for _, line in processes():
        if "glusterfsd" in line[0] and "--brick-port" in line:
            name = line[line.index("--brick-name") + 1]
            yield _encrypted(f"brick {name}", int(line[line.index("--brick-port") + 1]))
    for volume, allowed in names.items():
        info = (VOLUMES / volume / "info").read_text().splitlines()
        options = dict(line.partition("=")[::2] for line in info)
        found = options.get("auth.ssl-allow", "")
        good = options.get("server.ssl") == options.get("client.ssl") == "on"
        good = good and sorted(found.split(",")) == sorted(allowed)
        yield Seen(
            f"volume {volume}", good, f"for {found}" if found else "for hosts without a name"
        )


def _encrypted(what: str, port: int) -> Seen:
    """Return whether a port of this host answers a TLS handshake."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it only asks
    with socket.create_connection(("localhost", port), WAIT) as plain:
        try:
            with context.wrap_socket(plain) as secure:
                return Seen(what, True, str(secure.version()))
        except OSError:
            return Seen(what, False, "without TLS; see orch.storage_tls in docs/operations.md")


# etcd


def login(endpoint: str, certificate: str) -> Iterator[Seen]:
    """Look whether etcd refuses a request without a login.

    Args:
        endpoint: the address and the port of a voter.
        certificate: the name of the certificate with which this host asks etcd.
    """
    url = f"https://{endpoint}/v3/kv/range"
    try:
        status, answer = call("POST", url, identity(certificate), {"key": "AA=="}, timeout=WAIT)
    except NoAnswer as error:
        raise OSError(str(error)) from error
    words = answer.get("error", "") if isinstance(answer, dict) else str(answer)
    yield Seen(f"{endpoint} without a login", status != 200, words or "it answered")


def peers(name: str) -> Iterator[Seen]:
    """Look whether the running etcd accepts peers by their name only.

    Args:
        name: the common name of a peer's certificate.
    """
    process = command("systemctl", "show", "etcd", "--property=MainPID", "--value").strip()
    variables = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    found = dict(one.partition("=")[::2] for one in variables).get("ETCD_PEER_CERT_ALLOWED_CN", "")
    yield Seen("peers of etcd", found == name, f"must be {found}" if found else "any certificate")


# The balancer


def edge(
    address: str, port: int, tls: bool, domain: str, path: str, copy: bool = False
) -> Iterator[Seen]:
    """Ask the published service as a client would.

    The balancer's own address needs no password for a copy for trials, but loopback does.

    Args:
        address: its address.
        port: its port.
        tls: whether it uses HTTPS.
        domain: the host name of an application.
        path: a path that the application answers.
        copy: whether it is a copy for trials.
    """
    status, _ = get(address, port, tls, "foreign.invalid", path)
    yield Seen("a foreign host name", status == 421, f"HTTP {status}")
    if copy:
        status, _ = get(address, port, tls, domain, path, source="127.0.0.1")
        yield Seen(f"{domain} without its password", status == 401, f"HTTP {status}")
    status, headers = get(address, port, tls, domain, path)
    wanted = ["x-content-type-options", "referrer-policy", "x-frame-options"]
    wanted += ["strict-transport-security"] if tls else []
    missing = [name for name in wanted if name not in headers]
    words = f"no {', '.join(missing)}" if missing else f"HTTP {status}, all headers"
    yield Seen(f"the headers of {domain}", not missing, words)


def servers() -> Iterator[Seen]:
    """Look whether the running HAProxy speaks TLS to every app host."""
    rows = haproxy.states(haproxy.ask("show servers state"))
    plain = sorted(
        {
            name
            for (backend, name), row in rows.items()
            if backend != haproxy.ROUTE and row["srv_use_ssl"] != "1"
        }
    )
    words = f"without TLS: {', '.join(plain)}" if plain else "all in TLS"
    yield Seen("requests to app hosts", not plain, words)


def shown(address: str, port: int, domain: str, source: str) -> Iterator[Seen]:
    """Look whose certificate clients see, what it names, and how long it is valid.

    Args:
        address: the service's address.
        port: its port.
        domain: the host name of an application.
        source: the wanted source: `ca`, `own` or `acme`. The operator's own may name more.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    context = unverified()
    with (
        socket.create_connection((address, port), WAIT) as plain,
        context.wrap_socket(plain, server_hostname=domain) as secure,
    ):
        found = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
    try:
        found.verify_directly_issued_by(
            x509.load_pem_x509_certificate(Path(TLS, "ca.crt").read_bytes())
        )
        issuer = "ca"
    except (InvalidSignature, ValueError, TypeError):
        issuer = source if source != "ca" else "another CA"
    names = sorted(one.partition(":")[2] for one in certificate.names(found))
    left = (found.not_valid_after_utc - datetime.now(UTC)) / timedelta(days=1)
    good = issuer == source and left > 0 and (source == "own" or names == [domain])
    wrong = "" if issuer == source else f" instead of {source}"
    words = f"source {issuer}{wrong}, names {', '.join(names)}, {int(left)} days left"
    yield Seen(f"the certificate of {domain}", good, words)


def probe(name: str, arguments: Mapping[str, Any]) -> Iterator[Seen]:
    """Make a check of the host's health, as `salt-run fleet.health` does.

    Args:
        name: a function of salina.health.probes.
        arguments: its arguments.
    """
    for what, good, words, *_ in made(name, arguments):
        yield Seen(what, good, words or ("good" if good else "not good"))


# The management host


def outside() -> Iterator[Seen]:
    """Look whether sshd lets in operators alone, with keys only, and each session is recorded."""
    found = dict(line.partition(" ")[::2] for line in command(SSHD, "-T").splitlines())
    wrong = [
        f"{name} {found.get(name, 'not set')}"
        for name, value in {**KEYS_ONLY, "allowgroups": OPERATORS}.items()
        if found.get(name) != value
    ]
    yield Seen("SSH from outside", not wrong, ", ".join(wrong) or "operators alone, with keys only")
    members = grp.getgrnam(OPERATORS).gr_mem
    without = [name for name in members if pwd.getpwnam(name).pw_shell != accounts.SHELL]
    words = f"of all operators ({len(members)})" if members else "no operators yet"
    if without:
        words = f"not recorded: {', '.join(without)}"
    yield Seen("recorded sessions", not without, words)


def reached(hosts: Sequence[str], port: int) -> Iterator[Seen]:
    """Look whether each host's sshd answers this host by name, with the key that the master made.

    Args:
        hosts: all hosts.
        port: the port of sshd.
    """
    asked = ["ssh-keyscan", "-t", "ed25519", "-p", str(port), "-T", str(SCAN), *hosts]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=LIMIT / 2, check=False)
    known = _keys(KNOWN_HOSTS.read_text())
    shown = {name.strip("[]").partition("]")[0]: key for name, key in _keys(done.stdout).items()}
    silent = [host for host in hosts if host not in shown]
    foreign = [host for host in hosts if host in shown and shown[host] != known.get(host)]
    words = [f"no answer of {', '.join(silent)}"] if silent else []
    words += [f"another key than the master's: {', '.join(foreign)}"] if foreign else []
    good = f"each answers with its own key ({len(hosts)})"
    yield Seen("SSH to every host", not words, "; ".join(words) or good)


def _keys(text: str) -> dict[str, str]:
    """Return the key of each name in a file of known hosts."""
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return {name: row[2] for row in rows if len(row) > 2 for name in row[0].split(",")}


OWN: tuple[Callable[..., Iterator[Seen]], ...] = (
    *(kernel, interfaces, outgoing, time, updates, sshd, certificates, probe),
    *(mount, local, ports, logs, runs, environment, encrypted),
    *(files, login, peers, edge, servers, shown),
    *(outside, reached),
)
LOOKS = {look.__name__: look for look in (*OWN, *service.LOOKS)}


def gather(
    wanted: Sequence[Mapping[str, Any]], pillar: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return what was seen, in the order in which it was wanted. A few looks go side by side.

    A thread that hangs, for example at a dead mount, keeps none of the others waiting.

    Args:
        wanted: for each look `row`, `look` (a function above) and `arguments`.
        pillar: this host's pillar, for the looks that log in as the host does.

    Returns:
        For each thing `row`, `what`, `good` and `seen`.
    """
    late = f"no answer after {LIMIT:.0f} s"
    results = [[Seen(one["look"], False, late)] for one in wanted]
    places = iter(range(len(wanted)))
    turn = threading.Lock()

    def work() -> None:
        while True:
            with turn:
                place = next(places, None)
            if place is None:
                return
            results[place] = _looked(wanted[place], pillar or {})

    threads = [threading.Thread(target=work, daemon=True) for _ in range(TOGETHER)]
    for thread in threads:
        thread.start()
    end = monotonic() + LIMIT
    for thread in threads:
        thread.join(max(0.0, end - monotonic()))
    return [
        {"row": one["row"], **each._asdict()}
        for one, seen in zip(wanted, list(results), strict=True)
        for each in seen
    ]


def _looked(wanted: Mapping[str, Any], pillar: Mapping[str, Any]) -> list[Seen]:
    """Return what one look has seen. A look that fails is a fault."""
    name, arguments = wanted["look"], dict(wanted["arguments"])
    if name not in LOOKS:
        words = "this host has no such look; synchronise it with the master"
        return [Seen(name, False, words)]
    if name in service.PRIVATE:
        arguments["pillar"] = pillar
    found: list[Seen] = []
    try:
        found += LOOKS[name](**arguments)
    except Exception as error:  # whatever it is, nothing was shown
        found.append(Seen(name, False, cause(error) or type(error).__name__))
    return found
