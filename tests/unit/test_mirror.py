"""The lab's mirror holds what the states install."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lab.commands import preflight
from lab.errors import LabError
from lab.machines import image
from lab.mirror import build
from lab.mirror.debian import Package
from lab.mirror.locks import environments
from lab.mirror.repositories import Copy, Wanted
from lab.mirror.requirements import Requirements
from salina_fleet.model import definition
from salina_fleet.platforms import PLATFORMS
from salina_fleet.schema import document


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


def both(resolver: Resolver) -> dict[str, build.Closure]:
    return {"bookworm": resolver.closure, "bullseye": resolver.closure}


def names(packages) -> set[str]:
    return {one.file.removesuffix(".deb") for one in packages}


def shipped(*wanted: str) -> dict[str, definition.Definition]:
    """Return definitions of this repository."""
    return {name: definition.load(build.APPLICATIONS / f"{name}.yaml") for name in wanted}


def test_each_component_is_resolved_alone_and_all_together() -> None:
    resolver = Resolver()
    components = {"nginx": ["nginx"], "balancer": ["haproxy"], "bullseye": ["python3.9"]}
    found = build.resolve(components, both(resolver), "bookworm")
    assert resolver.asked == [["nginx"], ["haproxy"], ["haproxy", "nginx"], ["python3.9"]]
    assert names(found["bookworm"]) == {"nginx", "zlib", "haproxy", "lua"}


def test_older_suite_holds_only_what_it_adds() -> None:
    resolver = Resolver()
    components = {"nginx": ["nginx"], "bullseye": ["python3.9"]}
    found = build.resolve(components, both(resolver), "bookworm")
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
    found = build.resolve({"nginx": ["nginx"]}, {"trixie": Resolver().closure}, "trixie")
    assert {suite: names(packages) for suite, packages in found.items()} == {
        "trixie": {"nginx", "zlib"}
    }


def test_each_platform_gets_the_files_for_its_own_python() -> None:
    found = build.named(shipped("odoo-14.0"))
    locks = build.read_locks(found, [PLATFORMS["debian-12"], PLATFORMS["debian-13"]])
    assert {name: lock.python for name, lock in locks.items() if lock.name == "patroni"} == {
        "patroni": "3.11",
        "patroni-3.13": "3.13",
    }
    assert [lock.python for lock in locks.values() if lock.name == "odoo-14.0"] == ["3.9"]
    assert all(lock.name == name for name, lock in build.read_locks(found).items())


def test_locks_of_the_hosts_are_mirrored_and_no_others() -> None:
    found = build.read_locks(build.named(shipped("odoo-14.0", "sample-crm")))
    assert {"patroni", "patroni.build", "odoo-14.0", "odoo-14.0.build"} <= set(found)
    assert not {*build.ELSEWHERE, "odoo-19.0"} & set(found)
    assert found["odoo-14.0"].python == found["odoo-14.0.build"].python == "3.9"
    assert "odoo-19.0" in build.read_locks(build.named(shipped("odoo-19.0")))


def test_every_lock_belongs_to_all_hosts_to_none_or_to_an_application() -> None:
    """A new component's lock must be one of build.EVERYWHERE, or the lab has no files for it."""
    every = [path.stem for path in build.APPLICATIONS.glob("*.yaml")]
    used = build.named(shipped(*every)).locks
    assert set(environments()) == {*build.EVERYWHERE, *build.ELSEWHERE, *used}


def test_a_missing_lock_is_told() -> None:
    with pytest.raises(LabError, match=r"salt/locks/own\.txt does not exist") as caught:
        build.read_locks(build.Named(locks={"own": "3.11"}))
    assert caught.value.advice.endswith("make lock")


def test_o1_the_mirror_has_the_repositories_that_a_definition_names() -> None:
    """O1: And those with further modules; a clone on this machine stands for the first one."""
    (one,) = shipped("odoo-19.0").values()
    data = document.read(build.APPLICATIONS / "odoo-19.0.yaml")
    url, revision = one.source.repository, one.source.revision
    data["odoo"]["repositories"] = [
        {"name": "oca", "repository": "https://git.example/oca.git", "revision": "19.0"}
    ]
    more = definition.parse(data)
    found = build.named({"own": more}, {"own": Path("/srv/clone")})
    place = "pillar/app/own.yaml: "
    assert found.repositories == [
        ("own", Wanted(url, revision, f"{place}source", Path("/srv/clone"))),
        ("own/oca", Wanted("https://git.example/oca.git", "19.0", f"{place}odoo.repositories[0]")),
    ]


def test_o1_the_mirror_has_the_debian_packages_that_a_definition_names() -> None:
    """O1: Those of another release come from there; nobody has to list them twice."""
    found = build.suites_of(shipped("odoo-14.0", "odoo-19.0"))
    own = {"nginx": ["nginx"], "bullseye": ["python3.9"]}
    components = build.with_applications(own, found, "bookworm")
    assert components["bullseye"] == ["python3.9"]
    place = "pillar/app/odoo-19.0.yaml: odoo.python.packages"
    assert components[place] == ["libmagic1"]
    assert components["nginx"] == ["nginx"]


def test_a_platform_gets_the_packages_of_the_applications_that_it_can_run() -> None:
    """From its own release or, where its mirrors have it, from the release that they name."""
    every = shipped("odoo-14.0", "odoo-19.0", "sample-crm")
    trixie = PLATFORMS["debian-13"]
    assert build.suites_of(every, trixie) == {}
    able = replace(trixie, without={}, python="3.11")
    newer = {"pillar/app/odoo-19.0.yaml: odoo.python.packages": ["libmagic1"]}
    assert build.suites_of(every, able) == {"trixie": newer}
    older = {"pillar/app/odoo-14.0.yaml: odoo.python.packages": ["python3.9"]}
    found = build.suites_of(every, replace(able, releases=("bullseye",)))
    assert found == {"bullseye": older, "trixie": newer}
    assert build.with_applications({}, found, "trixie") == {"bullseye": ["python3.9"], **newer}


@pytest.mark.parametrize(
    ("platform", "named", "asked"),
    [
        ("debian-12", ["bookworm"], [("apt", "bookworm", "bullseye")]),
        ("debian-12", ["bullseye"], [("apt", "bookworm", "bullseye")]),
        (
            "debian-12",
            ["buster"],
            [("apt", "bookworm", "bullseye"), ("apt-with-buster", "bookworm", "buster")],
        ),
        ("debian-13", [], [("apt-trixie", "trixie", None)]),
    ],
)
def test_other_suites_are_asked_only_where_the_platform_has_them(
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    named: list[str],
    asked: list[tuple[str, str, str | None]],
) -> None:
    """APT's lists are fetched once for each pair of releases."""
    found: list[tuple[str, str, str | None]] = []

    class Apt(Resolver):
        def __init__(self, work: Path, root: Path, suite: str, usual: str, other: str | None):
            super().__init__()
            self.asking = (work.name, suite, other)

        def update(self) -> None:
            found.append(self.asking)

    monkeypatch.setattr(build.debian, "Resolver", Apt)
    closures = build.closures_of(PLATFORMS[platform], Path("/"), named)
    assert found == asked
    assert set(closures) == {one for _, *pair in asked for one in pair if one}


def test_a_name_that_debian_does_not_have_is_told() -> None:
    with (
        pytest.raises(LabError, match=r"^x\.yaml: odoo\.python\.packages: E: Unable") as caught,
        build.blame("x.yaml: odoo.python.packages", "correct it"),
    ):
        raise LabError("E: Unable to locate package nonesuch")
    assert caught.value.advice == "correct it"


def test_requirements_come_from_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """O1: With the constraints, and the packages that come without their dependencies."""
    data = document.read(build.APPLICATIONS / "odoo-19.0.yaml")
    data["odoo"]["python"] = {
        "interpreter": "python3.11",
        "requirements": "requirements.txt",
        "constraints": ["setuptools<82"],
        "without_dependencies": ["odoo-addon-session-db==19.0.1.0.0.2"],
        "packages": ["libpq-dev"],
    }
    more = {"name": "oca", "repository": "https://git.example/oca.git", "revision": "19.0"}
    data["odoo"]["repositories"] = [{**more, "requirements": "requirements.txt"}]
    one = definition.parse(data)
    copies = {name: Copy(name, "refs/heads/19.0", "c0ffee") for name in ("own", "own/oca")}
    texts = {"own": "lxml==4.9.3\n", "own/oca": "odfpy\n"}
    monkeypatch.setattr(build.repositories, "file", lambda store, copy, path: texts.get(copy.url))
    assert build.read_requirements({"own": one}, copies) == [
        Requirements(
            "pillar/app/own.yaml: odoo.python.requirements",
            "3.11",
            ("lxml==4.9.3\n", "odfpy\n"),
            ("odoo-addon-session-db==19.0.1.0.0.2",),
            ("setuptools<82",),
            ("libpq-dev",),
        )
    ]
    del texts["own/oca"]
    with pytest.raises(LabError, match=r"repositories\[0\]\.requirements: own/oca has no requirem"):
        build.read_requirements({"own": one}, copies)
    assert build.read_requirements(shipped("odoo-14.0", "sample-crm"), {}) == []


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
