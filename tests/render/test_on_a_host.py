"""A host defends itself against its own users and daemons (X8), rendered."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests import fleets
from tests.render.minion import Minion

BIND = "CAP_NET_BIND_SERVICE"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Minion:
    """A host that has every role."""
    return Minion("all", fleets.pillar("all", "one-host"), tmp_path_factory.mktemp("all"))


@pytest.fixture(scope="module", params=["odoo-14.0", "sample-crm"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Minion:
    """An app host of each kind."""
    pillar = fleets.pillar("s1", application=request.param)
    return Minion("s1", pillar, tmp_path_factory.mktemp(request.param))


def directives(unit: str) -> dict[str, list[str]]:
    """The directives of a unit or a drop-in, each with its values."""
    found: dict[str, list[str]] = {}
    for line in unit.splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def state(minion: Minion, name: str) -> dict[str, Any]:
    return next(chunk for chunk in minion.chunks if chunk["__id__"] == name)


def test_x8_services_may_bind_and_nothing_else(app: Minion) -> None:
    """X8: The application of each kind has this one capability, pgbouncer as well."""
    kind = app.opts["pillar"]["app"]["kind"]
    files = dict(app.files())
    own = directives(files[f"/etc/systemd/system/{kind}.service"])
    assert own["AmbientCapabilities"] == own["CapabilityBoundingSet"] == [BIND]
    assert own["NoNewPrivileges"] == ["yes"]
    pool = directives(files["/etc/systemd/system/pgbouncer.service.d/salina.conf"])
    assert pool["AmbientCapabilities"] == [BIND]


def test_x8_ports_are_reserved_after_the_services_may_bind_them(app: Minion) -> None:
    """X8: A running fleet never has a service that could not listen again after a crash."""
    kind = app.opts["pillar"]["app"]["kind"]
    names = [chunk["__id__"] for chunk in app.chunks]
    reserved = state(app, "ports-reserved")
    assert reserved["below"] == 32768
    for restarted in (f"{kind}-current", "database-route-restarted"):
        assert {"daemon": restarted} in reserved["require"]
        assert names.index(restarted) < names.index("ports-reserved")
        files = state(app, restarted)["files"]
        assert [file for file in files if file.startswith("/etc/systemd/system/")], restarted
    assert names.index("ports-reserved") < names.index("ports-at-boot")
    boot = dict(app.files())["/etc/sysctl.d/60-salina-ports.conf"]
    assert re.search(r"^net\.ipv4\.ip_unprivileged_port_start = 32768$", boot, re.M)


def test_x8_other_roles_of_the_same_host_may_bind(whole: Minion) -> None:
    """X8: On a host with every role, etcd and PostgreSQL can open their ports again."""
    files = dict(whole.files())
    for unit in ("patroni.service", "etcd.service.d/salina.conf"):
        assert directives(files[f"/etc/systemd/system/{unit}"])["AmbientCapabilities"] == [BIND]


def test_x8_nobody_else_reads_the_logs_of_nginx(app: Minion) -> None:
    """X8: Existing files and those that nginx creates are closed; nginx restarts for its umask."""
    files = dict(app.files())
    assert directives(files["/etc/systemd/system/nginx.service.d/salina.conf"])["UMask"] == ["0027"]
    logs = state(app, "nginx-logs")
    assert (logs["name"], logs["file_mode"], logs["recurse"]) == (
        *("/var/log/nginx", "0640"),
        ["mode", "silent"],
    )
    assert (logs["user"], logs["group"], logs["dir_mode"]) == ("root", "adm", "0755")
    restarted = state(app, "nginx-restarted")
    assert restarted["files"] == ["/etc/systemd/system/nginx.service.d/salina.conf"]
    assert (restarted["restart"], restarted["turn"]) == (True, "app")
    names = [chunk["__id__"] for chunk in app.chunks]
    assert names.index("nginx-configuration") < names.index("nginx-logs")
    assert names.index("nginx-logs") < names.index("nginx-service")
