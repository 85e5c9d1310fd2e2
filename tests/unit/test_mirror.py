"""The lab's mirror holds what the states install."""

import shutil
from pathlib import Path

import pytest

from lab.commands import preflight
from lab.machines import image
from lab.mirror import build
from lab.mirror.debian import Package
from salina_fleet.platforms import PLATFORMS


def package(name: str) -> Package:
    return Package(f"http://mirror/{name}.deb", f"{name}.deb", 1, f"SHA256:{name}")


# The packages that each installation on a bare host brings, alone and with others.
CLOSURES = {
    "nginx": {"nginx", "zlib"},
    "haproxy": {"haproxy", "lua"},
    "python3.9": {"python3.9", "libssl1.1", "zlib"},
}


class Resolver:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def closure(self, names) -> list[Package]:
        self.asked.append(list(names))
        return [package(one) for name in names for one in CLOSURES[name]]


def names(packages) -> set[str]:
    return {one.file.removesuffix(".deb") for one in packages}


def test_each_component_is_resolved_alone_and_all_together() -> None:
    resolver = Resolver()
    components = {"nginx": ["nginx"], "balancer": ["haproxy"], "bullseye": ["python3.9"]}
    found = build.resolve(components, resolver.closure, "bookworm")
    assert resolver.asked == [["nginx"], ["haproxy"], ["haproxy", "nginx"], ["python3.9"]]
    assert names(found["bookworm"]) == {"nginx", "zlib", "haproxy", "lua"}


def test_older_suite_holds_only_what_it_adds() -> None:
    resolver = Resolver()
    components = {"nginx": ["nginx"], "bullseye": ["python3.9"]}
    found = build.resolve(components, resolver.closure, "bookworm")
    assert names(found["bullseye"]) == {"python3.9", "libssl1.1"}


@pytest.mark.skipif(not shutil.which("apt-ftparchive"), reason="needs apt-utils")
def test_index_is_a_release_that_pinning_can_name(tmp_path: Path) -> None:
    (tmp_path / "pool/bullseye").mkdir(parents=True)
    build.index(tmp_path, "bullseye")
    release = (tmp_path / "dists/bullseye/Release").read_text()
    assert "\nCodename: bullseye\n" in release
    assert "main/binary-amd64/Packages" in release


def test_components_are_lists_of_package_names() -> None:
    for component, packages in build.read_packages().items():
        assert packages and all(isinstance(name, str) for name in packages), component
        assert len(packages) == len(set(packages)), component


def test_a_platform_has_the_packages_of_its_own_states() -> None:
    """Its versions, and nothing that it does not have: this would stop the mirror's build."""
    found = build.read_packages(PLATFORMS["debian-13"])
    assert found["database"] == ["postgresql-17", "postgresql-client-17"]
    assert not {"odoo", "bullseye"} & set(found)
    assert {"odoo", "bullseye"} <= set(build.read_packages())


def test_a_platform_without_another_release_has_one_suite() -> None:
    found = build.resolve({"nginx": ["nginx"]}, Resolver().closure, "trixie")
    assert {suite: names(packages) for suite, packages in found.items()} == {
        "trixie": {"nginx", "zlib"}
    }


def test_each_platform_gets_the_files_for_its_own_python() -> None:
    locks = build.read_locks([PLATFORMS["debian-12"], PLATFORMS["debian-13"]])
    assert {name: lock.python for name, lock in locks.items() if lock.name == "patroni"} == {
        "patroni": "3.11",
        "patroni-3.13": "3.13",
    }
    assert [lock.python for lock in locks.values() if lock.name == "odoo-14.0"] == ["3.9"]
    assert all(lock.name == name for name, lock in build.read_locks().items())


def test_locks_of_the_hosts_are_mirrored_and_no_others() -> None:
    assert {"patroni", "odoo-14.0"} <= set(build.read_locks())
    assert not set(build.ELSEWHERE) & set(build.read_locks())


def test_publish_points_at_what_the_inputs_made(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(build, "MIRROR", tmp_path)
    monkeypatch.setattr(build, "STORE", tmp_path / ".store")
    built: list[str] = []

    def publish(inputs: str) -> str:
        def fill(root: Path) -> None:
            built.append(inputs)
            (root / "content").write_text(inputs)

        build.publish("git/odoo.git", inputs, fill)
        return (tmp_path / "git/odoo.git/content").read_text()

    assert [publish("a"), publish("a"), publish("b")] == ["a", "a", "b"]
    assert built == ["a", "b"]
    assert len(list((tmp_path / ".store/odoo.git").iterdir())) == 1


def test_machine_is_given_what_image_and_mirror_need() -> None:
    needed = {*image.HOST_PACKAGES, *build.HOST_PACKAGES}
    assert needed <= set(preflight.PACKAGES)
