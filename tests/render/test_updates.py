"""Debian's security updates: their settings, their times, and the services that restart (X11)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from salina_fleet import logs, pair
from salina_fleet.kinds import KINDS
from salina_fleet.model.updates import SYSTEM, UpdateSettings
from salina_fleet.roles import ROLES
from tests import fleets
from tests.render.minion import Minion

APT = "/etc/apt/apt.conf.d/51salina"
TIMERS = "/etc/systemd/system/apt-daily{}.timer.d/salina.conf"
RENEWING = {
    "daemon": ("upgraded", "current_afterwards"),
    "gluster": ("current",),
    "quorum": ("joined",),
    "patroni": ("working",),
}
"""The states that restart a service whose program an update has replaced."""


def renewed(minion: Minion) -> set[str]:
    """Return the services of a host that a state renews."""
    return {
        chunk["name"] for chunk in minion.chunks if chunk["fun"] in RENEWING.get(chunk["state"], ())
    }


def each_set_of_roles() -> list[tuple[str, str]]:
    """(topology, minion), one for each set of roles in all topologies."""
    found = {fleets.fleet(name).hosts[host].roles: (name, host) for name, host in fleets.kinds()}
    return [*found.values(), ("default", "s1")]


@pytest.mark.parametrize(("name", "host"), each_set_of_roles())
def test_x11_an_apply_restarts_what_the_check_says(name: str, host: str) -> None:
    """X11: The roles declare the services, and a state of the host restarts each of them."""
    fleet, here = fleets.fleet(name), fleets.fleet(name).hosts[host]
    declared = {daemon for role in here.roles for daemon in ROLES[role].daemons} | {"salt-minion"}
    own = logs.daemons(fleet, here, fleets.definitions(fleet.topology))
    declared |= {one for one in own if "@" not in one}  # those restart together
    other = {kind for kind in KINDS if kind != fleets.pillar(host, name).get("app", {}).get("kind")}
    found = renewed(Minion(host, fleets.pillar(host, name, fleets.BY_LOAD)))
    assert found == declared - other


def test_x11_packages_of_declared_services_restart_nothing() -> None:
    """X11: Debian's packages have these of them. Nothing else restarts them behind our back."""
    policy = (fleets.REPOSITORY / "salt/common/files/policy-rc.d").read_text()
    listed = re.search(r"\n([a-z0-9 |]+)\)\n    case", policy)
    assert listed
    ours = {"patroni", "salina-load", "salina-health", *KINDS}  # no package has these
    declared = {pair.UNIT, *(daemon for role in ROLES.values() for daemon in role.daemons)}
    assert {*listed[1].split(" | ")} == declared - ours


def configured(text: str, folder: Path) -> dict[str, list[str]]:
    """Return what apt makes of Debian's own settings and of ours, as unattended-upgrades reads it.

    Debian's file is that of the package unattended-upgrades.
    """
    parts = folder / "apt.conf.d"
    parts.mkdir()
    (parts / "20auto-upgrades").write_text(
        'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
    )
    (parts / "50unattended-upgrades").write_text(
        "Unattended-Upgrade::Origins-Pattern {\n"
        '  "origin=Debian,codename=${distro_codename},label=Debian";\n'
        '  "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";\n};\n'
        'Unattended-Upgrade::Automatic-Reboot "true";\n'
    )
    (parts / "51salina").write_text(text)
    (folder / "main").write_text(f'Dir::Etc::parts "{parts}";\n')
    environment = {"APT_CONFIG": str(folder / "main"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["apt-config", "dump"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r'^(\S+?)(?:::)? "(.*)";$', done.stdout, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.skipif(not shutil.which("apt-config"), reason="needs apt")
@pytest.mark.parametrize("enabled", [True, False])
def test_x11_apt_understands_the_settings(enabled: bool, tmp_path: Path) -> None:
    """X11: Security updates and nothing else, no reboot, no question about a file of Salt's."""
    own = fleets.settings().but(UpdateSettings(enabled=enabled))
    minion = Minion("nas1", fleets.pillar("nas1", own=own))
    found = configured(dict(minion.files)[APT], tmp_path)
    assert found["APT::Periodic::Unattended-Upgrade"] == [str(int(enabled))]
    assert found["APT::Periodic::Update-Package-Lists"] == [str(int(enabled))]
    patterns = [one for one in found["Unattended-Upgrade::Origins-Pattern"] if one]
    assert len(patterns) == 2
    assert all("label=Debian-Security" in one and "origin=Debian," in one for one in patterns)
    assert found["Unattended-Upgrade::Automatic-Reboot"] == ["false"]
    assert {"--force-confdef", "--force-confold"} <= {*found["DPkg::Options"]}


def states(minion: Minion) -> dict[str, dict[str, Any]]:
    """Return the states of a host by their ids; of several with one id the last."""
    return {chunk["__id__"]: chunk for chunk in minion.chunks}


def test_x11_the_timers_have_the_times_of_the_host(tmp_path: Path) -> None:
    """X11: Exactly then, and not at a boot: hosts that boot together would begin together."""
    minion = Minion("nas2", fleets.pillar("nas2"))
    files = dict(minion.files)
    for part, time in (("", "03:30"), ("-upgrade", "04:30")):
        text = files[TIMERS.format(part)]
        assert f"OnCalendar=\nOnCalendar=*-*-* {time}\n" in text
        assert "RandomizedDelaySec=0\n" in text and "Persistent=false\n" in text
    found = states(minion)
    for timer in ("apt-daily", "apt-daily-upgrade"):
        state = found[f"updates-{timer}"]
        assert (state["name"], state["fun"]) == (f"{timer}.timer", "running")
    assert "unattended-upgrades" in found["common-packages"]["pkgs"]
    fetch = configured(files["/etc/salina/apt-fetch.conf"], tmp_path)
    assert fetch["APT::Update::Error-Mode"] == ["any"]
    unit = files["/etc/systemd/system/apt-daily.service.d/salina.conf"]
    assert "Environment=APT_CONFIG=/etc/salina/apt-fetch.conf\n" in unit


def test_x11_updates_can_be_switched_off() -> None:
    """X11: Then the host installs no package for it, and its timers are left alone."""
    own = fleets.settings().but(UpdateSettings(enabled=False))
    minion = Minion("nas2", fleets.pillar("nas2", own=own))
    assert "unattended-upgrades" not in states(minion)["common-packages"]["pkgs"]
    assert not [path for path in dict(minion.files) if "apt-daily" in path]
    assert not [name for name in states(minion) if name.startswith("updates-apt")]


def test_x11_debians_own_services_restart_without_a_turn() -> None:
    """X11: Those whose restart nobody notices. None of them belongs to a role."""
    found = states(Minion("s1", fleets.pillar("s1")))["updates-restarted"]
    assert found["services"] == list(SYSTEM)
    assert not {*SYSTEM} & {daemon for role in ROLES.values() for daemon in role.daemons}


def test_x11_needrestart_restarts_nothing(tmp_path: Path) -> None:
    """X11: Also where an image brings it along: it evaluates this file as Perl."""
    files = dict(Minion("s1", fleets.pillar("s1")).files)
    place = tmp_path / "salina.conf"
    place.write_text(files["/etc/needrestart/conf.d/salina.conf"])
    script = 'our %nrconf = (restart => "a"); eval do { local (@ARGV, $/) = $ARGV[0]; <> }; '
    done = subprocess.run(
        ["perl", "-e", f"{script} die $@ if $@; print $nrconf{{restart}}", place],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "l"
