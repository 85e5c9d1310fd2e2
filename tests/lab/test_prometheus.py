"""S13: Prometheus gets the numbers of every host, and nobody else does; its graphs have numbers."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from salina.common import wait
from salina_fleet import metrics
from salina_fleet.model.prometheus import PORT, PrometheusSettings
from tests import fleets
from tests.lab import lab, tiers
from tests.lab.test_monitoring import page, services

pytestmark = pytest.mark.lab

FLEET = fleets.fleet()
[NAGIOS] = FLEET.having("monitoring")
SETTINGS = FLEET.settings[PrometheusSettings]
API = f"http://127.0.0.1:{PORT}/prometheus/api/v1"
TLS = "/etc/salina/tls"


def asked(question: str, **parameters: str) -> Any:
    """Return Prometheus' answer to a question, asked on its own host."""
    url = f"{API}/{question}?{urlencode(parameters)}"
    answer = json.loads(lab.run(NAGIOS.id, "curl", "-sS", "--max-time", "20", url))
    assert answer["status"] == "success", answer
    return answer["data"]


def silent() -> str:
    """Return which exporters give no numbers, and why."""
    found = asked("targets")["activeTargets"]
    up = {one["scrapeUrl"].split("/")[2].split(":")[0] for one in found if one["health"] == "up"}
    missing = {*metrics.names(FLEET)} - up
    reasons = {one["lastError"] for one in found if one["health"] != "up"}
    return f"{', '.join(sorted(missing))}: {reasons}" if missing else ""


def test_s13_prometheus_gets_numbers_of_every_exporter() -> None:
    """S13: Each host's own, HAProxy's, etcd's, Patroni's, and those of Prometheus itself."""
    wait.clear(silent, 4 * SETTINGS.every, "numbers of every exporter")
    jobs = {one["labels"]["job"] for one in asked("targets")["activeTargets"]}
    assert jobs == {"node", "haproxy", "etcd", "patroni", "prometheus"}


def test_s13_every_graph_has_numbers() -> None:
    """S13: Each of the page's ten queries has lines with numbers."""
    graphs = fleets.pillar(NAGIOS.id)["prometheus"]["graphs"]
    assert len(graphs) == 10

    def empty() -> str:
        lines = {one["title"]: asked("query", query=one["expr"])["result"] for one in graphs}
        return ", ".join(title for title, found in lines.items() if not found)

    # a rate needs two answers
    wait.clear(empty, 6 * SETTINGS.every, "numbers for every graph")
    busy = asked("query", query=graphs[-3]["expr"])["result"]
    # also a host that left within the five minutes of the rate
    assert {one["metric"]["instance"] for one in busy} >= {*FLEET.hosts}


def test_s13_numbers_are_given_to_monitoring_alone() -> None:
    """S13: A question without a certificate is refused, and so is one with another host's."""

    def ask(asker: str, host: str, certificate: str, name: str = "") -> Any:
        address = FLEET.hosts[host].addresses["management"]
        server = f"node.{name or host}"
        own = ["--cert", f"{TLS}/{certificate}.crt", "--key", f"{TLS}/{certificate}.key"]
        argv = ["--cacert", f"{TLS}/ca.crt", *(own if certificate else [])]
        place = f"{server}:{SETTINGS.port}"
        resolved = ["--resolve", f"{place}:{address}", f"https://{place}/metrics"]
        return lab.execute(asker, "curl", "-sS", "--max-time", "5", *argv, *resolved)

    assert "node_memory_MemTotal_bytes" in ask(NAGIOS.id, "s1", "monitoring").stdout
    assert "no alternative certificate" in ask(NAGIOS.id, "s1", "monitoring", name="s2").stderr
    for asker, host, certificate in (
        (NAGIOS.id, "s1", ""),
        (NAGIOS.id, "s1", "metrics"),  # a server's
        ("lb1", "lb1", "balancer"),  # a client's; a host's own firewall lets it through
        ("bbdd1", "bbdd1", "host"),
    ):
        refused = ask(asker, host, certificate)
        assert refused.returncode and "node_" not in refused.stdout, (asker, certificate)
    with lab.sending("lb1"):
        assert "timed out" in ask("lb1", "s1", "balancer").stderr


def test_s13_exporters_listen_nowhere_else() -> None:
    """S13: On sockets and on loopback, so the door is the only way to them."""
    for host in FLEET.hosts:
        lines = lab.run(host, "ss", "-Hltnp").splitlines()
        open_to_others = [
            line
            for line in lines
            if '"prometheus' in line and not line.split()[3].startswith("127.0.0.1:")
        ]
        assert not open_to_others, host


def test_s13_the_graphs_are_behind_the_password() -> None:
    """S13: Clients see them through the firewall host, and only read."""
    password = tiers.secret("monitoring")
    query = "/prometheus/api/v1/query?query=up"
    assert page("/graphs/")[0] == page(query)[0] == "401"
    for path in ("/graphs/", "/graphs/graphs.js", "/graphs/graphs.css"):
        assert page(path, password)[0] == "200"
    status, body = page("/graphs/graphs.json", password)
    assert status == "200" and len(json.loads(body)) == 10

    def others() -> str:
        status, body = page(query, password)
        assert status == "200"
        found = {
            (one["metric"]["job"], one["metric"]["instance"])
            for one in json.loads(body)["data"]["result"]
        }
        known = {tuple(name.split(".", 1)) for name in metrics.names(FLEET)}
        return str(sorted(found ^ known) or "")

    # the numbers of a host that has just left are known for some questions more
    wait.clear(others, 180, "exactly the exporters of the fleet")
    assert page(query, password, "--request", "POST")[0] == "403"
    for path in ("/prometheus/-/quit", "/prometheus/-/reload", "/prometheus/debug/pprof/"):
        assert page(path, password)[0] == "404"


@pytest.mark.proof
def test_s13_numbers_cost_little() -> None:
    """S13: At rest, door and exporter use less than a hundredth of a processor of a host."""
    wait.clear(silent, 4 * SETTINGS.every, "numbers of every exporter")
    hosts = ("s1", "nas1", "bbdd1")
    script = "getconf CLK_TCK\n" + "\n".join(
        f"cut -d' ' -f14,15 /proc/$(systemctl show --value --property=MainPID {unit})/stat"
        for unit in metrics.DAEMONS
    )

    def used(host: str) -> float:
        each, *ticks = map(int, lab.shell(host, script).split())
        return sum(ticks) / each

    before = {host: used(host) for host in hosts}
    seconds = 4 * SETTINGS.every
    wait.until(lambda: None, seconds)
    for host in hosts:
        assert used(host) - before[host] < seconds / 100, host


@pytest.mark.proof
def test_s13_an_alert_fires_and_nagios_shows_it() -> None:
    """S13: A daemon without numbers is an alert, and a warning in Nagios, which sends no mail."""
    wait.clear(silent, 4 * SETTINGS.every, "numbers of every exporter")

    def firing() -> set[tuple[str, str]]:
        return {
            (one["labels"]["alertname"], one["labels"].get("instance", ""))
            for one in asked("alerts")["alerts"]
            if one["state"] == "firing"
        }

    lab.run("fw", "systemctl", "stop", "salina-metrics")
    try:
        expected = ("NoNumbers", "fw")
        wait.clear(lambda: "" if expected in firing() else "it is silent", 480, "the alert")

        def shown() -> str:
            state = services()[NAGIOS.id]["alerts"]
            return "" if state == "warning" else f"it is {state}"

        wait.clear(shown, 240, "Nagios to show the alert")
    finally:
        lab.run("fw", "systemctl", "start", "salina-metrics")
    wait.clear(lambda: "" if expected not in firing() else "it fires", 240, "the alert to end")
