"""The runners on a real master."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from salina.common import wait
from tests.integration.conftest import Installation


def test_topology(installation: Installation) -> None:
    """K5: check, show, map and table work as the operator calls them."""
    assert "is good" in installation.run("topology.check").stdout
    assert installation.run("topology.show").data["hosts"]["nas1"]["roles"] == ["storage", "quorum"]
    assert "nas1" in installation.run("topology.map").stdout
    assert "| app | database | data (10.1.4.0/24) |" in installation.run("topology.table").stdout


def test_secrets_are_made_once(installation: Installation) -> None:
    """K1, K4: secrets.create changes nothing the second time, prints no value, and only root
    reads.
    """
    folder = installation.state / "secrets"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    made = installation.run("secrets.create")
    assert made.data == {"made": []}
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0
        assert file.read_text().strip() not in made.stdout + made.stderr


def test_configuration_is_the_repositorys(installation: Installation) -> None:
    """The drop-ins of master.d take effect as they stand, over any other configuration."""
    roots = installation.run("config.get", "file_roots").data
    assert roots == {"base": [str(installation.repository / "salt")]}
    assert installation.run("config.get", "auto_accept").data is False
    assert installation.run("config.get", "peer_run").data == {
        ".*": [
            *(r"certificates\.sign$", r"turn\.take$", r"turn\.end$"),
            *(r"application\.build$", r"application\.built$"),
        ]
    }


def test_ready(installation: Installation) -> None:
    """K5: Hosts that answer are ready, and the error names a planned host that is down."""
    assert installation.run("fleet.ready", "hosts=[salt, nas1]", "timeout=60").data == [
        "salt",
        "nas1",
    ]
    down = installation.run("fleet.ready", "hosts=[salt, bbdd1, bbdd2]", "timeout=1")
    assert down.returncode == 1
    told = down.stdout + down.stderr
    assert "bbdd1, bbdd2 did not answer within 1 s; start each host that is down" in told
    unknown = installation.run("fleet.ready", "hosts=[eve]")
    assert unknown.returncode == 1
    assert "eve is not a host of the fleet;" in unknown.stdout + unknown.stderr


def test_ready_waits_for_an_apply(installation: Installation) -> None:
    """A host that applies states is not ready, however soon it answers: a second apply would
    fail.
    """
    installation.salt("nas1", "--async", "state.single", "cmd.run", "sleep 8")
    busy = re.compile(
        r"states are still being applied on nas1 \(state\.single by root as job \d+\) after 0 s\n"
        r"next: salt nas1 saltutil\.running"
    )

    def said() -> str:
        return str(installation.run("fleet.ready", "hosts=[salt, nas1]", "patience=0").stdout)

    assert wait.until(lambda: busy.search(said()), 8, 0)
    assert installation.run("fleet.ready", "hosts=[salt, nas1]").data == ["salt", "nas1"]
    assert installation.salt("nas1", "saltutil.is_running", "state.*").data == []


def test_members_and_tiers(installation: Installation) -> None:
    """The runners tell an orchestration the current members, and the order of the tiers."""
    assert installation.run("fleet.members").data == {"app": ["s1", "s2", "s3"]}
    tiers = installation.run("topology.tiers").data
    names = [tier["name"] for tier in tiers]
    assert names == [
        "master",
        "firewall, storage, quorum",
        "database",
        "backup, app, balancer",
        "monitoring, management",
    ]
    assert installation.run("topology.map", "format=png").returncode == 1


def test_a_live_host_keeps_its_key(installation: Installation, place: Path) -> None:
    """K5: Only with replace=True does a host with an accepted key get another one, and then
    the host's own key can be put back.
    """
    key = Path(installation.master.config["pki_dir"]) / "minions" / "nas1"
    own, written = key.read_text(), place / "nas1.yaml"
    told = installation.run("fleet.user_data", "nas1", str(written))
    assert told.returncode == 1
    assert "host: nas1 already has an accepted key" in told.stdout + told.stderr
    assert "add replace=True" in told.stdout + told.stderr
    assert (key.read_text(), written.exists()) == (own, False)
    nowhere = str(place / "nowhere" / "nas1.yaml")
    told = installation.run("fleet.user_data", "nas1", nowhere, "replace=True")
    assert told.returncode == 1
    assert f"{nowhere} can't be written: No such file" in told.stdout + told.stderr
    assert key.read_text() == own
    try:
        told = installation.run("fleet.user_data", "nas1", str(written), "replace=True")
        assert f"{written} holds the user data of nas1; its key is accepted" in told.stdout
        assert stat.S_IMODE(written.stat().st_mode) == 0o600
        files = yaml.safe_load(written.read_text())["write_files"]
        (given,) = (one["content"] for one in files if one["path"].endswith("/minion.pub"))
        assert given.strip() == key.read_text().strip() != own.strip()
    finally:
        minion = Path(installation.minions["nas1"].config["pki_dir"]) / "minion.pub"
        key.write_text(minion.read_text())  # as docs/operations.md says
    assert key.read_text() == own
    assert installation.salt("nas1", "test.ping").data is True


def test_a_new_host_gets_its_first_key(installation: Installation, place: Path) -> None:
    """S10: A host that has no key yet needs no replacement; the topology must have it."""
    key = Path(installation.master.config["pki_dir"]) / "minions" / "s4"
    try:
        assert installation.run("fleet.user_data", "s4", str(place / "s4.yaml")).returncode == 0
        assert key.exists()
        assert installation.run("fleet.user_data", "s4", str(place / "s4.yaml")).returncode == 1
    finally:
        key.unlink(missing_ok=True)
    told = installation.run("fleet.user_data", "s99", str(place / "s99.yaml"))
    assert told.returncode == 1 and "is not in the topology" in told.stdout + told.stderr


@pytest.mark.parametrize("by", ["file", "standard input"])
def test_k4_a_deploy_key_is_nowhere_but_with_the_secrets(
    installation: Installation, tmp_path: Path, by: str
) -> None:
    """K4: The answer, the log and the job cache have its name and its public part only."""
    file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    private, public = file.read_text(), file.with_suffix(".pub").read_text().split()[1]
    command = installation.master.salt_run_cli()
    given = ["secrets.deploy_key", "addons", str(file) if by == "file" else "-"]
    argv, env = command.cmdline(*given), {**os.environ, **command.environ}
    done = subprocess.run(argv, input=private, capture_output=True, text=True, env=env, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and public in said, said
    secret = private.splitlines()[2]
    assert secret in (installation.state / "secrets/deploy-addons").read_text()
    places = [installation.master.config[key] for key in ("cachedir", "log_file")]
    search = ["grep", "--recursive", "--text", "--files-with-matches", secret, *map(str, places)]
    found = subprocess.run(search, capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("", "") and secret not in said
