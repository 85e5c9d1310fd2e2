"""A host defends itself against its own users and daemons (X8), rendered."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from salina_fleet.model import settings
from tests import fleets
from tests.render.minion import Minion

BIND = "CAP_NET_BIND_SERVICE"


@pytest.fixture(scope="module")
def whole() -> Minion:
    """A host that has every role."""
    return Minion("all", fleets.pillar("all", "one-host"))


@pytest.fixture(scope="module", params=["odoo-14.0", "sample-crm"])
def app(request: pytest.FixtureRequest) -> Minion:
    """An app host of each kind."""
    pillar = fleets.pillar("s1", application=request.param)
    return Minion("s1", pillar)


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
    files = dict(app.files)
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
    boot = dict(app.files)["/etc/sysctl.d/60-salina-ports.conf"]
    assert re.search(r"^net\.ipv4\.ip_unprivileged_port_start = 32768$", boot, re.M)


def test_x8_the_ports_can_be_given_back() -> None:
    """X8: A setting is for hosts with daemons that cannot get the capability."""
    own = settings.parse({"app": {"reserve_ports": False}})
    minion = Minion("s1", fleets.pillar("s1", own=own))
    assert state(minion, "ports-reserved")["below"] == 1024
    boot = dict(minion.files)["/etc/sysctl.d/60-salina-ports.conf"]
    assert "net.ipv4.ip_unprivileged_port_start = 1024\n" in boot


def test_x8_other_roles_of_the_same_host_may_bind(whole: Minion) -> None:
    """X8: On a host with every role, etcd and PostgreSQL can open their ports again."""
    files = dict(whole.files)
    for unit in ("patroni.service", "etcd.service.d/salina.conf"):
        assert directives(files[f"/etc/systemd/system/{unit}"])["AmbientCapabilities"] == [BIND]


def test_x8_a_database_host_that_serves_an_application_sends_its_backups() -> None:
    """X8: pgBackRest's server, which a backup host elsewhere asks, can open its port as well."""
    minion = Minion("all", fleets.pillar("all", "ubuntu-24"))
    unit = dict(minion.files)["/etc/systemd/system/pgbackrest.service"]
    assert directives(unit)["AmbientCapabilities"] == [BIND]


def test_x8_nobody_else_reads_the_logs_of_nginx(app: Minion) -> None:
    """X8: Existing files and those that nginx creates are closed; nginx restarts for its umask."""
    files = dict(app.files)
    assert directives(files["/etc/systemd/system/nginx.service.d/salina.conf"])["UMask"] == ["0027"]
    logs = state(app, "nginx-logs")
    assert (logs["name"], logs["file_mode"], logs["recurse"]) == (
        *("/var/log/nginx", "0640"),
        ["group", "mode", "silent"],
    )
    assert (logs["user"], logs["group"], logs["dir_mode"]) == ("root", "adm", "2755")
    restarted = state(app, "nginx-restarted")
    assert restarted["files"] == ["/etc/systemd/system/nginx.service.d/salina.conf"]
    assert (restarted["restart"], restarted["turn"]) == (True, "app")
    names = [chunk["__id__"] for chunk in app.chunks]
    assert names.index("nginx-configuration") < names.index("nginx-logs")
    assert names.index("nginx-logs") < names.index("nginx-service")


#: A daemon -> its unit or drop-in, its capabilities, and the directories that it may write.
SANDBOXES: dict[str, tuple[str, set[str], str]] = {
    "nginx": (
        "nginx.service.d/salina.conf",
        {BIND, "CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL"},
        "/run /var/cache /var/lib/nginx /var/log/nginx",
    ),
    "haproxy": (
        "haproxy.service.d/salina.conf",
        {BIND, "CAP_SETUID", "CAP_SETGID", "CAP_SYS_CHROOT", "CAP_DAC_OVERRIDE", "CAP_KILL"},
        "/run",
    ),
    "pgbouncer": (
        "pgbouncer.service.d/salina.conf",
        {BIND},
        "/run/postgresql /var/log/postgresql",
    ),
    "etcd": ("etcd.service.d/salina.conf", {BIND}, "/var/lib/etcd"),
    "patroni": (
        "patroni.service",
        {BIND},
        "/var/lib/postgresql /run/postgresql -/var/log/postgresql",
    ),
}
#: Directives that each of them has with the same value as the application.
SHARED = (
    *("LockPersonality", "NoNewPrivileges", "PrivateTmp", "ProtectClock", "ProtectControlGroups"),
    *("ProtectHome", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules"),
    *("ProtectKernelTunables", "ProtectSystem", "RestrictAddressFamilies", "RestrictNamespaces"),
    *("RestrictRealtime", "RestrictSUIDSGID", "SystemCallArchitectures"),
)
EXPOSURE = 3.5
"""The greatest exposure that `systemd-analyze security` may find; without a sandbox it is 9.6."""


@pytest.mark.parametrize("daemon", SANDBOXES)
def test_x8_daemons_have_the_applications_sandbox(daemon: str, whole: Minion) -> None:
    """X8: A daemon that was broken into has few capabilities and writes few directories."""
    files = dict(whole.files)
    place, capabilities, written = SANDBOXES[daemon]
    application = directives(files["/etc/systemd/system/node.service"])
    found = directives(files[f"/etc/systemd/system/{place}"])
    assert {name: found.get(name) for name in SHARED} == {
        name: application[name] for name in SHARED
    }
    assert set(found["CapabilityBoundingSet"][0].split()) == capabilities
    assert found["ReadWritePaths"] == [written]
    assert found["SystemCallFilter"][0].split()[0] == "@system-service"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this machine has no systemd")
@pytest.mark.parametrize("daemon", SANDBOXES)
def test_x8_systemd_finds_them_little_exposed(daemon: str, whole: Minion, tmp_path: Path) -> None:
    """X8: `systemd-analyze security` says how much a unit may do, from 0 to 10."""
    place, capabilities, _ = SANDBOXES[daemon]
    unit = tmp_path / "etc/systemd/system" / place
    unit.parent.mkdir(parents=True)
    text = dict(whole.files)[f"/etc/systemd/system/{place}"]
    user = "User=nobody\n" if capabilities == {BIND} else ""
    if not place.endswith(".service"):  # the package's own unit sets a user and a command
        base = tmp_path / f"etc/systemd/system/{daemon}.service"
        base.write_text(f"[Service]\n{user}ExecStart=/bin/true\n")
    unit.write_text(text)
    ask = ["systemd-analyze", "security", "--offline=yes", f"--root={tmp_path}", "--no-pager"]
    said = subprocess.run([*ask, f"{daemon}.service"], capture_output=True, text=True, check=True)
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", said.stdout)
    assert found and float(found[1]) <= EXPOSURE, said.stdout


def test_x8_haproxy_restarts_for_its_sandbox_where_nobody_notices(
    app: Minion, whole: Minion
) -> None:
    """X8: An app host restarts HAProxy in its turn; a balancer reloads it and never restarts it."""
    restarted = state(app, "database-route-haproxy")
    assert (restarted["restart"], restarted["turn"]) == (True, "app")
    assert restarted["files"] == ["/etc/systemd/system/haproxy.service.d/salina.conf"]
    assert not [one for one in whole.chunks if one["__id__"] == "database-route-haproxy"]


def test_o9_backups_may_be_below_directories_that_are_new() -> None:
    """O9: Their parents are root's, also where they are below one another; others stay as they are.

    With `makedirs`, the parents would have the owner and the mode of what is in them.
    """
    places = {"repository": "/srv/new/rows", "files_repository": "/srv/new/files/kept"}
    own = settings.parse({"backup": places | {"master_copies": "/master"}})
    minion = Minion("tape", fleets.pillar("tape", "five-apps", own=own))
    parents = [chunk for chunk in minion.chunks if chunk["__id__"] == "backup-parents"]
    assert sorted(each["name"] for each in parents) == ["/", "/srv/new", "/srv/new/files"]
    for each in parents:
        assert each["creates"] == each["name"]
        assert (each["user"], each["group"], each["mode"]) == ("root", "root", "0755")
        assert each["makedirs"]
    for name in ("backup-repository", "files-repository-directory", "backup-master"):
        child = state(minion, name)
        assert {"sls": "backup.parents"} in child["require"]
        assert "makedirs" not in child
