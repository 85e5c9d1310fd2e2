"""S13: how the logs of every host reach the monitoring host."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from salina.health import probes
from salina_fleet import health, logs
from salina_fleet.model import settings
from tests import fleets
from tests.render.minion import Minion

SALT = fleets.REPOSITORY / "salt"


def test_s13_every_host_knows_where_its_logs_go() -> None:
    """S13: Only the monitoring host knows of the others."""
    for host in fleets.fleet().hosts:
        found = fleets.pillar(host)["logs"]
        assert found["url"] == "https://10.1.5.5:19532"
        assert bool(found["kept"]) is (host == "nagios")
    kept = fleets.pillar("nagios", own=settings.parse({"logs": {"size": 300, "days": 7}}))
    assert kept["logs"]["kept"]["hosts"] == [*fleets.fleet().hosts]
    assert (kept["logs"]["kept"]["size"], kept["logs"]["kept"]["days"]) == (300, 7)


def test_s13_an_ipv6_address_is_in_brackets() -> None:
    """S13: As in every URL."""
    [keeper] = fleets.fleet("ipv6").having("monitoring")
    address = fleets.fleet("ipv6").address(keeper, "management")
    assert ":" in address
    assert fleets.pillar(keeper.id, "ipv6")["logs"]["url"] == f"https://[{address}]:19532"


def test_s13_without_monitoring_nothing_is_sent() -> None:
    """S13: And what an earlier topology had is removed."""
    fleet = fleets.fleet("one-host")
    assert not logs.daemons(fleet, fleet.hosts["all"], fleets.definitions(fleet.topology))
    pillar = fleets.pillar("all", "one-host")
    assert "logs" not in pillar
    assert not [one for one in pillar["tls"]["certificates"] if one["name"].startswith("logs")]
    minion = Minion("all", pillar)
    assert "systemd-journal-remote" not in str([one.get("pkgs") for one in minion.chunks])
    ids = {one["__id__"] for one in minion.chunks}
    assert {"logs-absent", "log-host-absent"} <= ids and "logs-service" not in ids


def test_s13_only_the_monitoring_host_has_receivers() -> None:
    """S13: One for each host; a host that lays the role down removes them."""
    ids = {one["__id__"] for one in Minion("s1", fleets.pillar("s1")).chunks}
    assert {"logs-service", "logs-odoo-followed", "logs-nginx-followed", "log-host-absent"} <= ids
    minion = Minion("nagios", fleets.pillar("nagios"))
    ids = {one["__id__"] for one in minion.chunks}
    assert {"logs-service", "log-host-service"} <= ids and "log-host-absent" not in ids
    target = dict(minion.files)["/etc/systemd/system/salina-logs.target"]
    wanted = {line for line in target.splitlines() if line.startswith("Wants=")}
    assert wanted == {f"Wants=salina-log@{host}.socket" for host in fleets.fleet().hosts}


def test_s13_an_apply_restarts_what_sends_and_keeps() -> None:
    """S13, X11: So the check of replaced files does not ask an operator to do it."""
    fleet, definitions = fleets.fleet(), fleets.definitions(fleets.topology())
    [check] = [
        one
        for one in health.checks(fleet, fleet.hosts["nagios"], definitions)
        if one.probe == "waiting"
    ]
    assert {"salina-logs", "salina-log@s1", "systemd-journal-upload"} <= {
        *check.arguments["applied"]
    }


# The check of the monitoring host


def test_s13_a_host_whose_logs_stay_away_is_a_notice(tmp_path: Path) -> None:
    """S13: It serves, so nothing is at fault; a host that has never sent counts as well."""
    old = time.time() - probes.QUIET - 60
    for host in ("s1", "s2"):
        (tmp_path / host).mkdir()
        (tmp_path / host / f"{host}@1.journal").touch()
        os.utime(tmp_path / host / f"{host}@1.journal", (old, old))
    (tmp_path / "s1/s1.journal").touch()
    assert [*probes.logs(["s1"], str(tmp_path))] == [("logs", True, "")]
    [found] = probes.logs(["s1", "s2", "s3"], str(tmp_path))
    assert found[:2] == ("logs", True) and found[3:] == (True,)
    assert "no new lines of s2, s3 for 3 hours" in found[2]


# The program that bounds them


@pytest.fixture
def bounded(tmp_path: Path) -> Any:
    """A function that runs it beside a journalctl that only notes how it is called."""
    own = tmp_path / "journalctl"
    own.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/called\n')
    own.chmod(0o755)

    def run() -> list[str]:
        program = SALT / "log_host/files/salina-logs-bounded"
        places = [tmp_path / "remote", tmp_path / "sockets"]
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        subprocess.run(["sh", program, "300", "7", *places], env=path, check=True)
        called = tmp_path / "called"
        return called.read_text().splitlines() if called.exists() else []

    return run


def test_s13_each_host_has_a_bound_of_its_own(bounded: Any, tmp_path: Path) -> None:
    """S13: A host that writes much deletes no lines of another one."""
    assert bounded() == []
    for host in ("nas1", "s1"):
        (tmp_path / "remote" / host).mkdir(parents=True)
    assert bounded() == [
        f"--quiet --directory={tmp_path}/remote/{host}/ --vacuum-size=300M --vacuum-time=7d"
        for host in ("nas1", "s1")
    ]


def test_s13_the_last_file_of_a_host_that_is_gone_is_deleted(bounded: Any, tmp_path: Path) -> None:
    """S13: Not the one that a receiver has open, however old it is."""
    (tmp_path / "sockets").mkdir()
    old = time.time() - 9 * 86400
    files = {}
    for host in ("here", "gone", "left"):
        place = tmp_path / "remote" / host
        place.mkdir(parents=True)
        files[host] = place / f"{host}.journal"
        files[host].touch()
        if host != "left":
            os.utime(files[host], (old, old))
    with socket.socket(socket.AF_UNIX) as receiver:
        receiver.bind(str(tmp_path / "sockets/here.sock"))
        bounded()
    assert {host for host, file in files.items() if file.exists()} == {"here", "left"}
