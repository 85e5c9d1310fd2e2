"""The base image: issue 2, section 2: a bare Debian with a minion, nothing a state installs."""

import pytest
import yaml

from lab.errors import LabError
from lab.machines import image
from lab.mirror.locks import environments
from lab.paths import LOCKS, PACKAGES
from salina_fleet.platforms import PLATFORMS

BUILT = [PLATFORMS[name] for name in image.BUILT]


def test_image_holds_no_package_that_a_state_installs() -> None:
    components = yaml.safe_load(PACKAGES.read_text())
    installed_by_states = {name for names in components.values() for name in names}
    assert not installed_by_states & set(image.PACKAGES)


def test_hosts_get_everything_from_the_mirror() -> None:
    sources = {one.codename: image.files(one)["etc/apt/sources.list"] for one in BUILT}
    assert sources == {
        "bookworm": "deb [trusted=yes] file:/srv/mirror/apt bookworm main\n",
        "trixie": "deb [trusted=yes] file:/srv/mirror/apt-trixie trixie main\n",
    }
    assert "no-index = true" in image.FILES["etc/pip.conf"]
    assert "find-links = /srv/mirror/wheels" in image.FILES["etc/pip.conf"]


def test_clones_of_an_image_share_no_identity() -> None:
    assert {image.FILES[name] for name in ("etc/machine-id", "etc/hostname")} == {""}


def test_minion_is_restarted_on_failure() -> None:
    for name in ("minion", "master"):
        unit = image.FILES[f"etc/systemd/system/salt-{name}.service"]
        assert f"ExecStart=/opt/salt/bin/salt-{name}\n" in unit
        assert "Restart=on-failure" in unit


def test_version_follows_the_lock_of_salt(tmp_path, monkeypatch) -> None:
    (tmp_path / "minion.txt").write_text("salt==3008.2\n")
    monkeypatch.setattr(image, "LOCKS", tmp_path)
    before = image.version()
    assert image.version() == before
    (tmp_path / "minion.txt").write_text("salt==3008.3\n")
    assert image.version() != before


def test_salt_in_the_image_is_of_the_declared_release() -> None:
    assert environments()["minion"]["python"] == "3.11"
    assert "\nsalt==3008." in (LOCKS / "minion.txt").read_text()
    assert "\npip==" in (LOCKS / "minion.txt").read_text()


def test_each_platform_has_an_image_of_its_own() -> None:
    assert len({image.version(one) for one in BUILT}) == len(BUILT)


def test_a_platform_that_the_lab_cannot_build_is_refused() -> None:
    """Before anything is built or downloaded."""
    with pytest.raises(LabError, match=r"cannot build Ubuntu 24\.04; it can build: Debian 12"):
        image.ensure_images(["ubuntu-24.04"])
