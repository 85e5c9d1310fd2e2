"""The application tier rendered for the newest version."""

from __future__ import annotations

import re
from typing import Any

import pytest

from salina.application import odoo
from tests import fleets
from tests.render.minion import Minion


@pytest.fixture(scope="module")
def newest() -> Minion:
    """s1 in a fleet that runs it."""
    pillar = fleets.pillar("s1", application="odoo-19.0")
    return Minion("s1", pillar)


def state(minion: Minion, name: str) -> dict[str, Any]:
    return next(chunk for chunk in minion.chunks if chunk["__id__"] == name)


def test_newest_odoo(newest: Minion) -> None:
    """O2: The newest Odoo's files render with its own options."""
    definition = newest.opts["pillar"]["app"]["definition"]
    assert definition["odoo"]["python"]["interpreter"] == "python3.11"
    assert definition["source"]["commit"] == fleets.COMMIT
    release = state(newest, "application-built")["name"]
    assert re.fullmatch(r"/opt/odoo/releases/c0ffee000000-[0-9a-f]{8}", release)
    for name in ("application-release", "application-first", "application-production"):
        assert state(newest, name)["name"] == release
    unit = dict(newest.files)["/etc/systemd/system/odoo.service"].splitlines()
    [command] = [line for line in unit if line.startswith("ExecStart=")]
    place = "/opt/odoo/production"
    assert command.startswith(f"ExecStart={place}/.venv/bin/python {place}/odoo-bin --config ")
    assert f"WorkingDirectory={place}" in unit
    assert "libmagic1" in state(newest, "odoo-packages")["pkgs"]
    assert state(newest, "odoo-healthy")["name"] == "http://127.0.0.1:8069/web/health"
    assert not [chunk for chunk in newest.chunks if chunk["__id__"] == "odoo-release"]


def test_s12_new_code_starts_in_a_turn_and_must_answer(newest: Minion) -> None:
    """S12: The release is activated in the turn of the host, with the application's own check."""
    production, healthy = state(newest, "application-production"), state(newest, "odoo-healthy")
    assert (production["service"], production["turn"]) == ("odoo", "app")
    assert production["url"] == healthy["name"]
    assert production["log"] == healthy["log"]
    assert production.get("cookie") == healthy.get("cookie")


def test_s9_steps_run_before_new_code_starts(newest: Minion) -> None:
    """S9: A host that runs nothing yet has its release before the steps, and starts it later."""
    names = [chunk["__id__"] for chunk in newest.chunks]
    steps = [chunk["__id__"] for chunk in newest.chunks if chunk["state"] == "once"]
    assert names.index("application-first") < names.index(steps[0])
    for step in steps:
        assert names.index(step) < names.index("application-production")
    required = [one for chunk in newest.chunks for one in chunk.get("require", [])
                if chunk["__id__"] == "application-production"]  # fmt: skip
    assert {"once": "odoo-once-2"} in required
    assert {"once": "odoo-watched"} not in required  # monitoring stops no release
    assert {"release": "application-first"} in state(newest, steps[0])["require"]


def test_k5_the_first_state_judges_the_host(newest: Minion) -> None:
    """K5: Settings that do not fit the host end the run before a state changes anything."""
    for chunks in (newest.chunks, newest.apply("prepare")):
        states = [(chunk["__id__"], chunk.get("failhard")) for chunk in chunks]
        assert [one for one in states if one[0] != "python-loaded"][:2] == [
            ("system-as-planned", True),
            ("odoo-fits", True),
        ]


def test_newest_odoo_behind_nginx(newest: Minion) -> None:
    """O4, O7: Websocket requests go to the gevent port."""
    conf = dict(newest.files)["/etc/nginx/nginx.conf"]
    assert "location /websocket {\n            proxy_pass http://odoo-chat;" in conf
    assert "longpolling" not in conf
    assert "set_real_ip_from 10.1.3.1;" in conf


def test_s12_steps_connect_past_the_pool(newest: Minion) -> None:
    """S12, S6, S9: The steps go to the local HAProxy, and verify the server by its name."""
    steps = [chunk for chunk in newest.chunks if chunk["state"] == "once"]
    assert len(steps) == 4
    for step in steps:
        command = step["command"]
        place = [command[command.index(f"--db_{key}") + 1] for key in ("host", "port", "sslmode")]
        assert place == ["database", "5433", "verify-full"]
        assert step["env"]["PGSSLROOTCERT"] == "/etc/salina/tls/ca.crt"
        assert step["env"]["HOME"] == "/opt/odoo"
    assert "-steps" not in dict(newest.files)["/etc/pgbouncer/pgbouncer.ini"]


@pytest.mark.parametrize("version", ["odoo-14.0", "odoo-19.0"])
def test_x2_nothing_that_odoo_loads_is_on_the_volume(version: str) -> None:
    """X2: Odoo loads code from its addons and from `addons` of its data directory. The directory is
    root's, and only the filestore in it leads to the volume.
    """
    pillar = fleets.pillar("s1", application=version)
    minion = Minion("s1", pillar)
    options = odoo.options(pillar["app"], 5, odoo.addons(pillar["app"]["definition"]["odoo"]))
    data = state(minion, "odoo-data")
    assert options["data_dir"] == data["name"] == "/var/lib/odoo"
    assert (data["user"], data["group"], data["mode"]) == ("root", "odoo", "0750")
    loaded = [*str(options["addons_path"]).split(","), data["name"]]
    assert not [path for path in loaded if path.startswith(pillar["files"]["mount"])]
    links = {
        chunk["name"]: chunk["target"]
        for chunk in minion.chunks
        if chunk["fun"] == "symlink" and chunk["__id__"] != "gluster-certificate"
    }
    assert links == {"/var/lib/odoo/filestore": f"{pillar['app']['data']}/filestore"}
    unit = dict(minion.files)["/etc/systemd/system/odoo.service"]
    [writable] = [line for line in unit.splitlines() if line.startswith("ReadWritePaths=")]
    assert "/var/lib/odoo" not in writable


def test_x2_a_running_odoo_finds_its_files_before_it_takes_its_settings(newest: Minion) -> None:
    """X2, S5: An apply on a deployed host makes the link before Odoo restarts with it."""
    names = [chunk["__id__"] for chunk in newest.chunks]
    assert names.index("odoo-filestore") < names.index("odoo-configuration")
    assert names.index("odoo-configuration") < names.index("odoo-reconfigured")
    assert names.index("odoo-reconfigured") < names.index("application-data")
    assert names.index("odoo-files") < names.index("odoo-initialised")


def test_o9_the_addon_is_there_before_odoo_loads_it(newest: Minion) -> None:
    """O9: odoo.conf names the addon, and the environment the directory."""
    names = [chunk["__id__"] for chunk in newest.chunks]
    assert names.index("odoo-held") < names.index("odoo-configuration")
    assert names.index("odoo-held") < names.index("odoo-reconfigured")
    environment = newest.render(state(newest, "odoo-environment-file")).splitlines()
    assert 'SALINA_HELD="/mnt/nas/crm/held"' in environment


def test_o9_the_sweep_runs_as_the_application(newest: Minion) -> None:
    """O9, X8: It writes the application's directory alone, and no link leads it elsewhere."""
    directory = state(newest, "held-directory")
    assert (directory["name"], directory["user"]) == ("/mnt/nas/crm/held", "odoo")
    unit = dict(newest.files)["/etc/systemd/system/salina-held.service"]
    for line in (
        "User=odoo",
        "ExecStart=/usr/local/sbin/salina-held-sweep /mnt/nas/crm/held 15",
        "ProtectSystem=strict",
        "ReadWritePaths=-/mnt/nas/crm",
    ):
        assert f"\n{line}\n" in unit
    assert state(newest, "held-timer")["name"] == "salina-held.timer"


def test_o9_without_backups_nothing_is_held() -> None:
    """O9: A fleet without backups has no directory and no timer for it."""
    minion = Minion("s1", fleets.pillar("s1", "plain"))
    assert {one["__id__"] for one in minion.chunks if "held" in one["__id__"]} == {"odoo-held"}
    assert "SALINA_HELD" not in minion.render(state(minion, "odoo-environment-file"))


def test_unit(newest: Minion) -> None:
    """O3: The unit has its own user, a sandbox and a restart after failure."""
    unit = dict(newest.files)["/etc/systemd/system/odoo.service"]
    for line in (
        "User=odoo",
        "Restart=always",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "PrivateTmp=yes",
        "RequiresMountsFor=/mnt/nas",
        "ReadWritePaths=/mnt/nas /var/log/odoo /var/cache/odoo",
        "WantedBy=multi-user.target",
    ):
        assert f"\n{line}\n" in unit
