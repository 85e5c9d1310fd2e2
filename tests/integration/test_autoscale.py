"""S12: the master checks its pool each minute, and does nothing while the setting is off."""

from __future__ import annotations

import salt.config

from tests.integration.conftest import Fleet


def test_it_is_scheduled(fleet: Fleet) -> None:
    """S12: The job is scheduled beside the other jobs of master.d."""
    config = salt.config.master_config(fleet.master.config["conf_file"])
    assert config["schedule"]["salina-autoscale"]["function"] == "autoscale.evaluate"


def test_off(fleet: Fleet) -> None:
    """S12: While the setting is off the job ends at once and keeps nothing."""
    assert fleet.run("autoscale.evaluate").data == {"enabled": False}
    assert not (fleet.state / "autoscale.json").exists()


def test_on(fleet: Fleet) -> None:
    """S12, K5: The job reports a rule that does not fit, and a balancer that does not answer."""
    settings = fleet.repository / "pillar/settings/autoscale.yaml"
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
            told = fleet.run("autoscale.evaluate")
            assert told.returncode == 1
            assert fault in told.stdout + told.stderr
    finally:
        settings.write_text(before)
    assert not (fleet.state / "autoscale.json").exists()
