"""S12: the master checks its pool each minute, and does nothing while the setting is off."""

from __future__ import annotations

import salt.config

from tests.integration.conftest import Installation


def test_it_is_scheduled(installation: Installation) -> None:
    """S12: The job is scheduled beside the other jobs of master.d."""
    config = salt.config.master_config(installation.master.config["conf_file"])
    assert config["schedule"]["salina-autoscale"]["function"] == "autoscale.evaluate"


def test_off(installation: Installation) -> None:
    """S12: While the setting is off the job ends at once and keeps nothing."""
    assert installation.run("autoscale.evaluate").data == {"enabled": False}
    assert not (installation.state / "autoscale.json").exists()


def test_on(installation: Installation) -> None:
    """S12, K5: The job reports a rule that does not fit, and a balancer that does not answer."""
    settings = installation.repository / "pillar/settings/autoscale.yaml"
    before = settings.read_text()
    try:
        for given, fault in (
            (
                "{enabled: true, maximum: 99}",
                "maximum: 99 is not valid; must be a number from 1 to 10",
            ),
            ("{enabled: true, below: 20}", "below: 20 is not valid; must be less than above: 20"),
            ("enabled: true", "balancer.servers failed on lb1: it did not answer"),
        ):
            settings.write_text(given)
            told = installation.run("autoscale.evaluate")
            assert told.returncode == 1
            assert fault in told.stdout + told.stderr
    finally:
        settings.write_text(before)
    assert not (installation.state / "autoscale.json").exists()
