"""Debian's security updates: they install by themselves, and restart nothing that serves (X11)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from salina.common import wait
from tests import fleets
from tests.lab import lab, tiers
from tests.lab.traffic import Traffic

pytestmark = [pytest.mark.lab, pytest.mark.proof]

PLACE = "/var/tmp/salina-security"
SOURCE = "/etc/apt/sources.list.d/salina-security.list"
UPDATES = {
    "lb1": ("haproxy", "haproxy"),
    "s1": ("pgbouncer", "pgbouncer"),
    "nas1": ("etcd-server", "etcd"),
    "bbdd1": ("postgresql-15", "patroni"),
}
"""A host -> a package that gets an update there, and the service that uses it."""
PUBLISH = """
mkdir -p {place}/new {place}/dists/bookworm-security/main/binary-amd64
cd {place}
chmod 755 . new
apt-get download -qq {package}
dpkg-deb --raw-extract {package}_*.deb unpacked
rm {package}_*.deb
sed -i 's/^Version: .*/&+salina1/' unpacked/DEBIAN/control
dpkg-deb --build -Znone unpacked new/{package}.deb >/dev/null
rm -r unpacked
packages=dists/bookworm-security/main/binary-amd64/Packages
dpkg-deb --field new/{package}.deb >$packages
{{
    echo "Filename: new/{package}.deb"
    echo "Size: $(stat --format=%s new/{package}.deb)"
    echo "SHA256: $(sha256sum new/{package}.deb | cut -d' ' -f1)"
}} >>$packages
{{
    printf 'Origin: Debian\\nLabel: Debian-Security\\n'
    printf 'Suite: oldstable-security\\nCodename: bookworm-security\\n'
    echo "Date: $(date --utc --rfc-email | sed 's/+0000/UTC/')"
    printf 'Architectures: amd64\\nComponents: main\\nSHA256:\\n'
    sum=$(sha256sum $packages | cut -d' ' -f1)
    echo " $sum $(stat --format=%s $packages) ${{packages#*security/}}"
}} >dists/bookworm-security/Release
echo 'deb [trusted=yes] file:{place} bookworm-security main' >{source}
rm -f /var/lib/apt/periodic/*
"""
"""Make a security archive on a host, with a newer version of a package."""


def version(host: str, package: str) -> str:
    """Return the version of a package that is installed."""
    return lab.run(host, "dpkg-query", "--show", "--showformat=${Version}", package)


def processes(host: str, service: str) -> str:
    """Return the processes of a service, and when each of them started."""
    group = lab.run(host, "systemctl", "show", service, "--property=ControlGroup", "--value")
    pids = lab.shell(host, f"pgrep --parent 1 --cgroup {group.strip()} || true")
    return pids or lab.run(host, "systemctl", "show", service, "--property=MainPID", "--value")


def notices(host: str) -> list[str]:
    """Return the notices of a host in the report of the fleet, which is healthy."""
    done = lab.salt_run("fleet.health")
    found = json.loads(done.stdout)
    assert (done.returncode, found["healthy"]) == (0, True)
    return [
        one["detail"] for one in found["hosts"][host]["checks"] if one["what"].endswith(" waits")
    ]


@pytest.fixture
def archive() -> Iterator[None]:
    """A security archive on each of the hosts, and at the end the versions from before."""
    before = {host: version(host, package) for host, (package, _) in UPDATES.items()}
    try:
        for host, (package, _) in UPDATES.items():
            lab.shell(host, PUBLISH.format(place=PLACE, package=package, source=SOURCE))
        yield
    finally:
        for host, (package, _) in UPDATES.items():
            lab.shell(
                host,
                f"rm -rf {SOURCE} {PLACE}; apt-get update -qq\n"
                "DEBIAN_FRONTEND=noninteractive apt-get install -qq --allow-downgrades "
                f"{package}={before[host]}",
            )
        lab.highstate()


def test_x11_an_update_installs_itself_and_restarts_nothing(archive: None) -> None:
    """X11: The timers' own services install it, the report names what waits, and the next apply
    restarts it. Users notice nothing.
    """
    before = {host: processes(host, service) for host, (_, service) in UPDATES.items()}
    with Traffic() as traffic:
        wait.clear(lambda: traffic.obstacle(0.0), 60, "the traffic to begin")
        for host, (package, service) in UPDATES.items():
            lab.run(host, "systemctl", "start", "apt-daily.service")
            lab.run(host, "systemctl", "start", "apt-daily-upgrade.service")
            log = lab.run(host, "tail", "/var/log/unattended-upgrades/unattended-upgrades.log")
            assert version(host, package).endswith("+salina1"), log
            assert processes(host, service) == before[host]
            [notice] = notices(host)
            assert service in notice.split(" still use ")[0].split()
            assert notice.endswith(f"next: salt {host} state.apply")
        for host in UPDATES:
            found = lab.results(lab.salt(host, "state.apply", "queue=True"))
            assert lab.failures(found) == []
            wait.clear(lambda host=host: str(notices(host) or ""), 60, f"{host} to have none")
        begun = max(each.begun for each in traffic.requests())
        wait.clear(lambda: traffic.obstacle(begun), 60, "the traffic to go on")
        assert traffic.failed() == []
    tiers.leader()


def test_x11_a_source_that_does_not_answer_leaves_no_stamp() -> None:
    """X11: apt-daily.service ends well all the same, and the health looks at the stamp."""
    stamp = "/var/lib/apt/periodic/update-stamp"
    dead = "/etc/apt/sources.list.d/salina-dead.list"
    lab.shell(
        "nas1",
        f"rm -f {stamp}; echo 'deb http://127.0.0.1:9/debian bookworm main' > {dead}",
    )
    try:
        lab.run("nas1", "systemctl", "start", "apt-daily.service")
        assert lab.execute("nas1", "test", "-e", stamp).returncode == 1
    finally:
        lab.run("nas1", "rm", dead)
    lab.run("nas1", "systemctl", "start", "apt-daily.service")
    assert lab.execute("nas1", "test", "-e", stamp).returncode == 0


def test_x11_the_timers_have_different_times() -> None:
    """X11: systemd has the times of the pillar, each host its own."""
    shown = {}
    for host in fleets.fleet().hosts:
        timer = ["systemctl", "show", "apt-daily-upgrade.timer", "--property=TimersCalendar"]
        shown[host] = lab.run(host, *timer)
        assert f"*-*-* {fleets.pillar(host)['updates']['install']}:00" in shown[host]
        assert (
            lab.run(host, "systemctl", "is-active", "apt-daily-upgrade.timer").strip() == "active"
        )
    assert len({line.partition("next_elapse")[0] for line in shown.values()}) == len(shown)


def test_x11_unattended_upgrades_takes_security_updates_only() -> None:
    """X11: It understands the settings of this host."""
    said = lab.run("nas1", "unattended-upgrade", "--dry-run", "--verbose")
    [line] = [line for line in said.splitlines() if line.startswith("Allowed origins are:")]
    origins = line.partition(": ")[2].split(", ")
    assert origins and all(one.endswith("label=Debian-Security") for one in origins)
