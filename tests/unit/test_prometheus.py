"""S13: Prometheus' jobs, alerts and graphs follow from the roles, and promtool agrees."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from salina.health import probes
from salina_fleet import metrics
from salina_fleet.fleet import Fleet
from salina_fleet.model import settings
from salina_fleet.model.settings import SettingsError
from salina_fleet.roles import ROLES
from tests import fleets, prometheus
from tests.conftest import REPOSITORY
from tests.render.minion import Minion
from tools import docs

DATA = Path(__file__).parent / "data"
FLEET = fleets.fleet()
ALERTS = metrics.alerts(FLEET)
GRAPHS = metrics.graphs(FLEET)
RULES, CONFIGURATION = "/etc/prometheus/salina-rules.yml", "/etc/prometheus/salina.yml"


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """The files of the monitoring host."""
    minion = Minion("nagios", fleets.pillar("nagios"))
    return dict(minion.files)


# The exporters, and their doors


def test_s13_each_host_has_its_own_exporter_and_those_of_its_roles() -> None:
    """S13: A host whose roles have the same exporter has it once."""
    found = {
        one.id: [exporter.name for exporter in metrics.exporters(FLEET, one)]
        for one in FLEET.hosts.values()
    }
    assert found["fw"] == ["node"]
    assert found["lb1"] == found["s1"] == ["node", "haproxy"]
    assert found["nas1"] == ["node", "etcd"]
    assert found["bbdd1"] == ["node", "patroni"]
    assert found["nagios"] == ["node", "prometheus"]
    one = fleets.fleet("one-host")
    assert [exporter.name for exporter in metrics.exporters(one, one.hosts["all"])] == [
        *("node", "etcd", "patroni", "haproxy"),
    ]


def test_s13_exporters_are_reached_through_the_door_only() -> None:
    """S13: They listen on sockets and on loopback, or want TLS."""
    for host in FLEET.hosts.values():
        for one in metrics.exporters(FLEET, host):
            assert one.known_as or one.connect.startswith(("/", "127.0.0.1:")), one


def test_s13_a_certificate_names_the_exporters_of_one_host() -> None:
    """S13: So no host can answer for another one, and Prometheus finds them by these names."""
    names = metrics.names(FLEET)
    assert names["node.s1"] == names["haproxy.s1"] == "10.1.5.11"
    for host in FLEET.hosts.values():
        [certificate] = metrics.certificates(FLEET, host)
        own = {f"DNS:{name}" for name, address in names.items() if name.endswith(f".{host.id}")}
        assert {*certificate.names} == own
        assert (certificate.uses, certificate.group) == (("serverAuth",), "stunnel4")
    lines = {line["address"]: line["names"] for line in fleets.pillar("nagios")["hosts"]}
    assert {"node.s1", "haproxy.s1"} <= {*lines["10.1.5.11"]}


def test_s13_without_monitoring_there_is_no_door() -> None:
    """S13: And no certificate for it."""
    fleet = fleets.fleet("one-host")
    assert metrics.pillar(fleet, fleet.hosts["all"]) == {}
    assert metrics.certificates(fleet, fleet.hosts["all"]) == []


def stunnel(pillar: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The sections of the door's configuration, each with its options."""
    minion = Minion(pillar["host"]["id"], pillar)
    text = dict(minion.files)["/etc/salina/metrics/stunnel.conf"]
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            found[line.strip("[]")] = {}
        elif found and " = " in line:
            key, _, value = line.partition(" = ")
            found[[*found][-1]][key] = value
    return found


def test_s13_the_door_takes_monitoring_alone() -> None:
    """S13: Whichever exporter is asked for; Patroni's answer is verified as well."""
    found = stunnel(fleets.pillar("bbdd1"))
    assert [*found] == ["door", "node", "patroni", "patroni-tls"]
    assert found["door"]["accept"] == "10.1.5.31:8435"
    for name in ("door", "node", "patroni"):
        wanted = {"verifyChain": "yes", "requireCert": "yes", "checkHost": "nagios"}
        assert wanted.items() <= found[name].items()
    assert found["patroni"]["sni"] == "door:patroni.bbdd1"
    assert found["patroni"]["connect"] == found["patroni-tls"]["accept"]
    asks = {"client": "yes", "connect": "10.1.4.31:8008", "checkHost": "bbdd1"}
    assert asks.items() <= found["patroni-tls"].items()


def test_s13_stunnel_writes_ipv6_without_brackets() -> None:
    """S13: The last colon ends the address."""
    found = stunnel(fleets.pillar("bbdd1", "ipv6"))
    for address in (found["door"]["accept"], found["patroni-tls"]["connect"]):
        assert re.fullmatch(r"[0-9a-f:]+:\d+", address)


# Jobs, alerts and graphs


def test_s13_a_new_member_is_asked() -> None:
    """S13: The jobs follow the members."""
    grown = Fleet(FLEET.topology, {"app": ["s1", "s4"]}, FLEET.settings)
    node, *_ = metrics.jobs(grown)
    names = [one["server"] for one in node["targets"]]
    assert "node.s4" in names and "node.s2" not in names


def test_s13_prometheus_asks_with_a_certificate(files: dict[str, str]) -> None:
    """S13: Each job uses TLS, and names the host itself."""
    found = yaml.safe_load(files[CONFIGURATION])
    jobs = {job["job_name"]: job for job in found["scrape_configs"]}
    assert [*jobs] == ["node", "haproxy", "etcd", "patroni", "prometheus"]
    for job in jobs.values():
        assert job["scheme"] == "https" and "insecure_skip_verify" not in job["tls_config"]
        assert job["tls_config"]["cert_file"] == "/etc/salina/tls/monitoring.crt"
    assert jobs["patroni"]["static_configs"] == [
        {"targets": ["patroni.bbdd1:8435"], "labels": {"instance": "bbdd1"}},
        {"targets": ["patroni.bbdd2:8435"], "labels": {"instance": "bbdd2"}},
    ]


def test_s13_the_disk_and_the_time_are_bounded(files: dict[str, str]) -> None:
    """S13: By the settings, and Prometheus listens on loopback only."""
    unit = files["/etc/systemd/system/prometheus.service"]
    for option in (
        "--storage.tsdb.retention.time=15d",
        "--storage.tsdb.retention.size=1024MB",
        "--web.listen-address=127.0.0.1:9090",
    ):
        assert option in unit
    assert "lifecycle" not in unit and "admin-api" not in unit


def test_s13_the_default_fleet_has_ten_graphs() -> None:
    """S13: Each has a known unit; a fleet without some roles has fewer."""
    assert len(GRAPHS) == 10
    assert {one.unit for one in GRAPHS} <= {*metrics.UNITS}
    assert len({one.title for one in GRAPHS}) == 10


def test_s13_roles_bring_their_own() -> None:
    """S13: A role whose hosts the fleet does not have brings nothing."""
    names = [one.name for one in ALERTS]
    assert len({*names}) == len(names)
    without = metrics.alerts(fleets.fleet("one-host"))
    assert {*names} - {one.name for one in without} == {"RulesFail"}
    assert list(ROLES["firewall"].exporters(FLEET, FLEET.hosts["fw"])) == []


def test_s13_the_page_has_the_same_graphs(files: dict[str, str]) -> None:
    """S13: The file from which the page is drawn."""
    found = json.loads(files["/usr/local/share/salina-graphs/graphs.json"])
    assert [one["title"] for one in found] == [one.title for one in GRAPHS]
    script = (REPOSITORY / "salt/prometheus/files/graphs.js").read_text()
    drawn = {*re.findall(r"unit === '([a-z ]+)'", script)} | {"number"}
    assert drawn == {*metrics.UNITS}


def test_s13_grafana_gets_the_same_graphs() -> None:
    """S13: The dashboard in docs is made from them."""
    found = json.loads(docs.FILES["docs/grafana.json"]())
    assert [one["title"] for one in found["panels"]] == [one.title for one in GRAPHS]
    [target] = found["panels"][1]["targets"]
    assert target["legendFormat"] == "{{proxy}} {{server}}"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"every": 600}, "every: 600 is not valid; must be a number from 5 to 120"),
        ({"keep_mb": 1}, "keep_mb: 1 is not valid"),
    ],
)
def test_k5_a_bad_setting_of_prometheus_is_one_clear_error(
    given: dict[str, Any], fault: str
) -> None:
    """K5, S13: The file, the key, and what is allowed."""
    with pytest.raises(SettingsError) as caught:
        settings.parse({"prometheus": given})
    (found,) = caught.value.faults
    assert found.startswith("prometheus.yaml: ") and fault in found


# Nagios' view


def alert(number: int, state: str = "firing") -> dict[str, Any]:
    """An alert as Prometheus tells it."""
    summary = f"s{number}: it is slow."
    labels, annotations = {"alertname": "Slow"}, {"summary": summary}
    return {"labels": labels, "annotations": annotations, "state": state}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], None),
        ([alert(1, "pending")], None),
        ([alert(1), alert(1)], "Slow: s1: it is slow."),
        ([alert(number) for number in range(8)], "Slow: s4: it is slow. And 3 more."),
    ],
)
def test_s13_an_alert_is_a_notice(
    monkeypatch: pytest.MonkeyPatch, found: list[dict[str, Any]], words: str | None
) -> None:
    """S13: Nagios shows it and sends no mail, because a fault has an alarm of its own."""
    answer = json.dumps({"status": "success", "data": {"alerts": found}})
    monkeypatch.setattr(probes, "get", lambda *arguments: (200, answer))
    checks = [*probes.alerts(9090, "/prometheus")]
    if words is None:
        assert checks == []
    else:
        [(what, good, detail, notice)] = checks  # type: ignore[misc]
        assert (what, good, notice) == ("alerts", True, True) and detail.endswith(words)


def test_s13_prometheus_that_does_not_answer_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """S13: While it starts it answers with 503."""
    monkeypatch.setattr(probes, "get", lambda *arguments: (503, "Service Unavailable"))
    with pytest.raises(OSError, match="HTTP 503"):
        [*probes.alerts(9090, "/prometheus")]


# promtool


def test_s13_every_alert_is_tested() -> None:
    """S13: Once silent, and once not."""
    tests = yaml.safe_load((DATA / "alerts.yaml").read_text())["tests"]
    cases = [
        (one["alertname"], bool(one["exp_alerts"])) for t in tests for one in t["alert_rule_test"]
    ]
    assert sorted(cases) == sorted((one.name, fires) for one in ALERTS for fires in (False, True))


@pytest.fixture
def promtool() -> Path:
    """Prometheus' tool, if there is one."""
    found = prometheus.promtool()
    if found is None:
        pytest.skip("needs promtool")
    return found


@pytest.mark.programs
def test_s13_alerts_fire_when_they_should(
    files: dict[str, str], promtool: Path, tmp_path: Path
) -> None:
    """S13: promtool runs the rules over made-up numbers."""
    (tmp_path / Path(RULES).name).write_text(files[RULES])
    shutil.copy(DATA / "alerts.yaml", tmp_path)
    argv = [promtool, "test", "rules", tmp_path / "alerts.yaml"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.programs
def test_s13_promtool_accepts_the_configuration(
    files: dict[str, str], promtool: Path, tmp_path: Path
) -> None:
    """S13: With its rules, and also the queries of the graphs."""
    for name in ("ca.crt", "monitoring.crt", "monitoring.key"):
        (tmp_path / name).write_text("")
    (tmp_path / Path(RULES).name).write_text(files[RULES])
    text = files[CONFIGURATION].replace("/etc/salina/tls", str(tmp_path))
    own = tmp_path / "prometheus.yml"
    own.write_text(text.replace("/etc/prometheus", str(tmp_path)))
    recorded = [{"record": f"graph:{n}", "expr": one.expr} for n, one in enumerate(GRAPHS)]
    graphs = tmp_path / "graphs.yml"
    graphs.write_text(json.dumps({"groups": [{"name": "graphs", "rules": recorded}]}))
    for argv in (["config", own], ["rules", graphs]):
        done = subprocess.run(
            [promtool, "check", *argv], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
