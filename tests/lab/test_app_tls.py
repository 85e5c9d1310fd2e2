"""X7: TLS between the balancer and the app hosts: listened to, attacked, broken, and moved to."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from salina.common import wait
from salina_fleet.roles import app
from tests import fleets
from tests.lab.lab import execute, failures, results, run, salt, salt_run, shell
from tests.lab.test_edge import DOMAIN, curl
from tests.lab.test_rolling import applied, apply_all, nobody_notices
from tests.lab.tiers import APPS, servers
from tests.lab.traffic import Background

pytestmark = pytest.mark.lab

APP = fleets.pillar("s1")["app"]
PATH = APP["definition"]["health"]["path"]
ADDRESSES = {host: fleets.fleet().hosts[host].addresses["web"] for host in APPS}
LOCAL = "127.0.0.1:80"
TLS = "/etc/salina/tls"
OLDER = "/etc/nginx/older-balancers.conf"
NGINX = "/etc/nginx/nginx.conf"
FRAGMENT = "/etc/haproxy/conf.d/20-balancer.cfg"

WATCH = """
import socket

sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
sniffer.settimeout(0.2)
packets = {}
say(ready=True)
while not stopped.is_set():
    try:
        packet, (name, *_) = sniffer.recvfrom(65536)
    except TimeoutError:
        continue
    of = packets.setdefault(name, [0, 0])
    of[0] += 1
    of[1] += given["word"].encode() in packet
say(**packets)
"""
"""Counts the packets of each interface, and those that have a word in them."""


def test_x7_no_word_of_a_request_crosses_in_clear() -> None:
    """X7: A listener on the app hosts sees a client's words on loopback, and nowhere else."""
    word = f"secret-{uuid.uuid4().hex}"
    watches = [Background(host, WATCH, word=word) for host in (*APPS, "lb1")]
    for watch in watches:
        wait.clear(lambda watch=watch: "" if watch.lines() else "not ready", 20, "the listener")
    for _ in range(6):
        curl("--insecure", "-o", "/dev/null", "--data", f"login={word}", f"https://{DOMAIN}/web")
    for watch in watches:
        watch.end()
    heard = {watch.host: watch.lines()[-1] for watch in watches}
    clear = {
        (host, name)
        for host, found in heard.items()
        for name, (_, with_word) in found.items()
        if with_word
    }
    assert clear and clear <= {(host, "lo") for host in APPS}, heard  # who had a request
    assert all(any(name != "lo" for name in found) for found in heard.values()), heard


# Attacks


def asked(host: str, address: str, *arguments: str) -> str:
    """The status of an app host's answer over TLS, or why there is none."""
    url = f"https://{address}:{app.PORT}{PATH}"
    command = ["curl", "-sS", "--insecure", "--max-time", "5", "-o", "/dev/null"]
    header = ["-H", f"Host: {DOMAIN}", "-H", "X-Forwarded-For: 192.0.2.7"]
    done = execute(host, *command, *header, "-w", "%{http_code}", *arguments, url)
    return done.stdout if done.returncode == 0 else done.stderr


@pytest.mark.parametrize("attacker", ["s1", "nas1", "bbdd1", "c1"])
def test_x7_other_hosts_do_not_reach_an_app_host(attacker: str) -> None:
    """X7, S7: Neither its port with TLS nor the one without, even past the firewall's order."""
    address = ADDRESSES["s2"]
    for port in (app.PORT, app.LOCAL_PORT, app.HEALTH_PORT):
        command = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>/dev/null && echo open"
        assert shell(attacker, command, check=False) == "", port


def test_x7_a_stolen_place_is_not_enough() -> None:
    """X7: At the balancer's own address, without its certificate, an app host gives nothing.

    The attacker has no certificate, or that of a database host, whose purpose is a client's, or
    that of an app host.
    """
    place = "/root/salina-stolen"
    address = ADDRESSES["s2"]
    own = ("--cert", f"{TLS}/balancer.crt", "--key", f"{TLS}/balancer.key")
    assert asked("lb1", address, *own) == "200"
    assert asked("lb1", address) == "400"
    try:
        shell("lb1", f"umask 077; mkdir -p {place}")
        for host, name in (("bbdd1", "host"), ("s1", "web")):
            for end in ("crt", "key"):
                text = run(host, "cat", f"{TLS}/{name}.{end}")
                run("lb1", "sh", "-ec", f"cat >{place}/{name}.{end}", given=text)
            stolen = ("--cert", f"{place}/{name}.crt", "--key", f"{place}/{name}.key")
            assert asked("lb1", address, *stolen) in ("400", "403"), name
    finally:
        shell("lb1", f"rm -rf {place}")
    plain = execute("lb1", "curl", "-sS", "--max-time", "5", f"http://{address}/")
    assert plain.returncode == 7, plain.stderr  # refused


def states() -> dict[str, tuple[bool, str]]:
    """Whether the balancer sends requests to each app host, and what its check says."""
    return {name: (one["serving"], one["check"]) for name, one in servers().items()}


WRONG = """
cd {tls}; cp -p web.crt web.crt.own; cp -p web.key web.key.own
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=s2 \\
    -addext subjectAltName=DNS:s2 -keyout web.key -out web.crt 2>/dev/null
systemctl reload nginx
"""
RIGHT = "cd {tls}; mv web.crt.own web.crt; mv web.key.own web.key; systemctl reload nginx"


def test_x7_a_wrong_certificate_takes_an_app_host_out() -> None:
    """X7, S12: The balancer sends nothing to a host that has taken s2's place, and nobody notices.

    The check fails at TLS, before anything was sent.
    """
    with nobody_notices():
        shell("s2", WRONG.format(tls=TLS))
        try:
            wait.clear(
                lambda: "" if not states()["s2"][0] else f"{states()}", 20, "s2 to be taken out"
            )
            assert states()["s2"][1].startswith("L6RSP"), states()
            seen = salt_run("verify.security").stdout
            rows = json.loads(seen)["rows"]["X7"]["seen"]
            assert [one for one in rows if not one["good"]], rows
        finally:
            shell("s2", RIGHT.format(tls=TLS))
        wait.clear(lambda: "" if states()["s2"][0] else f"{states()}", 60, "s2 to serve again")


# The move of a fleet of an earlier version


def listening(host: str) -> set[str]:
    """The addresses and ports at which the host's nginx listens."""
    lines = run(host, "ss", "-Hltnp").splitlines()
    return {line.split()[3] for line in lines if '"nginx"' in line}


def listens(host: str, *wanted: str) -> None:
    """Wait until nginx listens at these addresses and no others."""
    wait.clear(
        lambda: "" if listening(host) == set(wanted) else f"it listens at {listening(host)}",
        20,
        f"nginx of {host} to listen at {wanted}",
    )


def reload(host: str, unit: str) -> None:
    """Let a daemon read its files."""
    run(host, "systemctl", "reload", unit)


@contextmanager
def older_fleet() -> Iterator[None]:
    """Give nginx and HAProxy the configuration of a version without TLS, and all of it back."""
    try:
        for host, address in ADDRESSES.items():
            shell(host, f"echo 'listen {address}:80 default_server;' >>{OLDER}")
            reload(host, "nginx")
        script = (
            "s/:443 ssl verifyhost s[0-9]* tcp-ut/:80 tcp-ut/; /default-server ssl-min-ver/d; "
            f"s/hdr Host {app.HEALTH_NAME}/hdr Host {DOMAIN}/; "
            f"s/^    option httpchk$/&\\n    default-server port {app.HEALTH_PORT}/"
        )
        run("lb1", "sed", "-i", script, FRAGMENT)
        reload("lb1", "haproxy")
        for host, address in ADDRESSES.items():
            with_tls = f"listen {address}:443 ssl"
            run(host, "sed", "-i", f"s/{with_tls}/listen {address}:80/", NGINX)
            run(host, "truncate", "--size=0", OLDER)
            reload(host, "nginx")
            listens(host, LOCAL, f"{address}:80")
        yield
    finally:
        applied()


def waits() -> list[str]:
    """Return why the balancer would not be moved yet."""
    name = "name=TLS on the app hosts"
    answer = salt("lb1", "state.single", "balancer.app_hosts_have_tls", name, "wait=0")
    return failures(results(answer))


def older(host: str) -> list[str]:
    """Return the balancers that may still use the host's port without TLS."""
    given = [json.dumps([OLDER, NGINX]), ADDRESSES[host], "80", json.dumps(["lb1"])]
    return list(salt(host, "application.older_balancers", *given)[host])


@pytest.mark.proof
def test_x7_a_fleet_without_tls_moves_and_nobody_notices() -> None:
    """X7, K2, S12: Host by host, the balancer in the middle, and the old port closes at the end."""
    with older_fleet(), nobody_notices():
        [told] = waits()
        assert "s1, s2, s3 do not speak TLS with this balancer yet" in told
        assert "next: salt -L s1,s2,s3 state.apply" in told
        for done, host in enumerate(APPS, 1):
            apply_all(host)
            listens(host, LOCAL, f"{ADDRESSES[host]}:80", f"{ADDRESSES[host]}:443")
            left = ", ".join(APPS[done:])
            assert [f": {left} do not" in one for one in waits()] == ([True] if left else [])
        apply_all("lb1")
        assert [one["port"] for one in servers().values()] == [app.PORT] * len(APPS)
        begun = time.monotonic()
        for host in APPS:  # at once, its earlier process may still send requests
            apply_all(host)
            listens(host, LOCAL, f"{ADDRESSES[host]}:80", f"{ADDRESSES[host]}:443")
        for host in APPS:
            wait.clear(
                lambda host=host: ", ".join(older(host)),  # type: ignore[misc]
                240,
                f"{host} to know that the balancer uses TLS only",
            )
        assert time.monotonic() - begun > 60
        for host in APPS:
            apply_all(host)
            listens(host, LOCAL, f"{ADDRESSES[host]}:443")
    seen: dict[str, Any] = json.loads(salt_run("verify.security").stdout)["rows"]["X7"]
    assert [one for one in seen["seen"] if not one["good"]] == []
