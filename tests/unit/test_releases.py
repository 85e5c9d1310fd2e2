"""Releases on the master: their names, who builds one, and which digest counts (O1, X10)."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from salt.exceptions import CommandExecutionError

from salina.application import release as own
from salina_fleet import minions, runner
from salina_fleet.change import releases
from salina_fleet.change.releases import KEPT, LEASE, Built
from salina_fleet.model import release
from salina_fleet.site import Site
from tests import fleets
from tests.loading import load
from tests.releases import DIGEST, NAME, NEXT

OTHER = "e" * 64
COMMIT = fleets.COMMIT


# The host that builds


def test_o1_one_host_builds() -> None:
    """O1: The second host learns who builds, and when the master heard of it last."""
    now, digest, refused = releases.build({}, NAME, "s1", 100)
    assert (now, digest, refused) == ({NAME: Built("s1", 100)}, "", "")
    said = f"s1 builds release {NAME}, last heard of 40 s ago"
    assert releases.build(now, NAME, "s2", 140) == (now, "", said)
    another, digest, refused = releases.build(now, NEXT, "s2", 140)
    assert another == now | {NEXT: Built("s2", 140)}
    assert (digest, refused) == ("", "")


def test_the_builder_renews_its_lease() -> None:
    """O1: A builder that begins again, or is slow, keeps the build."""
    now, _, _ = releases.build({}, NAME, "s1", 100)
    now, digest, refused = releases.build(now, NAME, "s1", 100 + LEASE)
    assert (now, digest, refused) == ({NAME: Built("s1", 100 + LEASE)}, "", "")
    assert releases.build(now, NAME, "s2", 99 + 2 * LEASE)[2]


def test_k2_a_builder_that_died_loses_the_build() -> None:
    """S12, K2: Nobody has heard of it for a while, so the next host that asks builds."""
    now, _, _ = releases.build({}, NAME, "s1", 100)
    assert releases.build(now, NAME, "s2", 99 + LEASE)[2]
    taken, digest, refused = releases.build(now, NAME, "s2", 100 + LEASE)
    assert (taken, digest, refused) == ({NAME: Built("s2", 100 + LEASE)}, "", "")
    assert releases.build(taken, NAME, "s1", 101 + LEASE)[2].startswith("s2 builds release")


def test_a_release_that_exists_is_not_built_again() -> None:
    """O1: Every host gets its digest, at any time."""
    found = {NAME: Built("s1", 100, DIGEST)}
    for host, now in (("s1", 101), ("s2", 101), ("s2", 1e9)):
        assert releases.build(found, NAME, host, now) == (found, DIGEST, "")


def test_x10_the_first_digest_counts() -> None:
    """X10: A host cannot replace the digest of a release that others have unpacked."""
    now, _, _ = releases.build({}, NAME, "s1", 100)
    now, *found = releases.finish(now, NAME, "s1", DIGEST, 160)
    assert (now, found) == ({NAME: Built("s1", 160, DIGEST)}, [DIGEST, ""])
    for host in ("s1", "s2"):
        assert releases.finish(now, NAME, host, OTHER, 200) == (now, DIGEST, "")


def test_x10_only_the_builder_has_a_digest_recorded() -> None:
    """X10: Another host could otherwise be faster with a release of its own liking.

    A builder whose lease has ended is the first all the same, unless another host builds now.
    """
    now, _, _ = releases.build({}, NAME, "s1", 100)
    unchanged, digest, refused = releases.finish(now, NAME, "s2", OTHER, 140)
    assert (unchanged, digest) == (now, "")
    assert refused == f"s1 builds release {NAME}, last heard of 40 s ago"
    late, _, _ = releases.finish(now, NAME, "s1", DIGEST, 110 + LEASE)
    assert late[NAME].digest == DIGEST
    taken, _, _ = releases.build(now, NAME, "s2", 100 + LEASE)
    assert releases.finish(taken, NAME, "s1", DIGEST, 110 + LEASE)[2].startswith("s2 builds")


def test_the_records_do_not_grow_without_end() -> None:
    """The newest ones stay, in their order."""
    found: dict[str, Built] = {}
    names = [f"c0ffee000000-{number:08x}" for number in range(KEPT + 2)]
    for number, name in enumerate(names):
        found, _, _ = releases.build(found, name, "s1", number)
        found, _, _ = releases.finish(found, name, "s1", DIGEST, number)
    assert list(found) == names[2:]
    found, _, _ = releases.finish(found | {NEXT: Built("s1", 0)}, NEXT, "s1", DIGEST, 0)
    assert list(found) == [*names[3:], NEXT]


def test_the_file_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / releases.FILE
    assert releases.read(path) == {}
    kept = {"crm": {NAME: Built("s1", 1.5, DIGEST), NEXT: Built("s2", 2.5)}, "shop": {}}
    with releases.changing(path) as found:
        found |= kept
    assert releases.read(path) == kept
    with pytest.raises(KeyError), releases.changing(path) as found:
        found.clear()
        raise KeyError
    assert releases.read(path) == kept


# The name


def named(
    definition: Mapping[str, Any],
    commit: str = COMMIT,
    locks: Mapping[str, str] = fleets.LOCKS,
    further: Sequence[str] = (),
) -> str:
    """Return the name of a definition's release, which must have the right form."""
    found = release.name(definition, [commit, *further], locks)
    assert own.NAME.fullmatch(found)
    return found


def found(application: str) -> Mapping[str, Any]:
    """Return a definition of pillar/app; "requirements" is the newest Odoo without a lock."""
    return (
        fleets.without_lock() if application == "requirements" else fleets.definition(application)
    )


def changed(application: str, path: str, value: Any) -> dict[str, Any]:
    """Return a definition of pillar/app with another value at a path of keys."""
    definition: dict[str, Any] = copy.deepcopy(dict(found(application)))
    part, *keys = definition, *path.split(".")
    for key in keys[:-1]:
        part = part[key]
    assert part[keys[-1]] != value
    part[keys[-1]] = value
    return definition


@pytest.mark.parametrize("application", fleets.SHIPPED)
def test_every_application_has_a_release_of_its_own(application: str) -> None:
    """O1: The name begins with the commit, and is the same each time."""
    found = named(fleets.definition(application))
    assert found.startswith(f"{COMMIT[:12]}-")
    assert found == named(copy.deepcopy(dict(fleets.definition(application))))
    others = [one for one in fleets.SHIPPED if one != application]
    assert found not in {named(fleets.definition(one)) for one in others}


@pytest.mark.parametrize(
    ("application", "path", "value"),
    [
        ("odoo-14.0", "odoo.python.interpreter", "python3.11"),
        ("odoo-14.0", "odoo.python.lock", "odoo-19.0"),
        ("requirements", "odoo.python.requirements", "other.txt"),
        ("requirements", "odoo.python.constraints", ["setuptools<83"]),
        ("requirements", "odoo.python.without_dependencies", []),
        ("odoo-14.0", "odoo.right_to_left", True),
        ("crm-2017", "node.runtime.version", "10.24.2"),
        ("crm-2017", "node.runtime.integrity", "sha512-x"),
        ("crm-2017", "node.npm.version", "6.14.19"),
        ("crm-2017", "node.install", ["npm", "install"]),
        ("crm-2017", "node.start", ["node", "other.js"]),
        ("crm-2017", "node.migrations", "other"),
        ("crm-2017", "node.lock", None),
        ("sample-crm", "node.lock", "crm-2017"),
    ],
)
def test_x10_another_part_is_another_release(application: str, path: str, value: Any) -> None:
    """X10, O1: Everything that a release is built from counts."""
    locks = {**fleets.LOCKS, "crm-2017.json": "2" * 64}
    one = named(found(application), locks=locks)
    assert named(changed(application, path, value), locks=locks) != one


@pytest.mark.parametrize(
    ("application", "path", "value"),
    [
        ("odoo-14.0", "odoo.options", {"with_demo": True}),
        ("odoo-14.0", "odoo.modules", ["base"]),
        ("odoo-14.0", "odoo.server_wide_modules", ["web"]),
        ("odoo-14.0", "port", 8070),
        ("odoo-14.0", "source.repository", "https://git.example/odoo.git"),
        ("odoo-14.0", "source.revision", "main"),
        ("sample-crm", "node.environment", {"NODE_ENV": "test"}),
        ("sample-crm", "node.once", []),
        ("sample-crm", "health.path", "/other"),
    ],
)
def test_settings_make_no_other_release(application: str, path: str, value: Any) -> None:
    """S12: A change of settings alone builds nothing."""
    assert named(changed(application, path, value)) == named(fleets.definition(application))


def test_x10_another_commit_or_lock_is_another_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """X10: The content of a lock counts, also that of the build tools, and one that may come."""
    odoo = fleets.definition("odoo-14.0")
    lock, tools = "odoo-14.0.txt", "odoo-14.0.build.txt"
    names = [
        named(odoo),
        named(odoo, commit="f" * 40),
        named(odoo, commit=f"{COMMIT[:12]}{'f' * 28}"),
        named(odoo, locks={}),
        named(odoo, locks={lock: "2" * 64}),
        named(odoo, locks=fleets.LOCKS | {tools: "1" * 64}),
        named(odoo, locks=fleets.LOCKS | {tools: "2" * 64}),
    ]
    assert len({*names}) == len(names)
    assert named(odoo, locks=fleets.LOCKS | {"patroni.txt": "1" * 64}) == names[0]
    node = fleets.definition("crm-2017")
    assert named(node) == named(node, locks={lock: "2" * 64})
    assert named(node) != named(node, locks={"crm-2017.json": "1" * 64})
    sample = fleets.definition("sample-crm")
    assert named(sample) == named(sample, locks={"crm-2017.json": "1" * 64})
    monkeypatch.setattr(release, "FORM", release.FORM + 1)
    assert named(odoo) != names[0]


@pytest.mark.parametrize(("fleet", "host"), [("default", "s1"), ("two-applications", "w1")])
def test_an_app_host_knows_its_release(fleet: str, host: str) -> None:
    """O1: The pillar has its name and its places, the same for all hosts of an application."""
    pillar = fleets.pillar(host, fleet)
    kind, found = pillar["app"]["kind"], pillar["app"]["release"]
    assert found == {
        "name": named(pillar["app"]["definition"]),
        "directory": f"/opt/{kind}/releases/{found['name']}",
        "store": f"{pillar['files']['mount']}/releases/{pillar['app']['database']['name']}",
        "checkouts": [
            {
                "directory": "",
                "repository": pillar["app"]["definition"]["source"]["repository"],
                "commit": COMMIT,
                "submodules": False,
                "key": None,
                "known_hosts": [],
            }
        ],
    }
    application = fleets.fleet(fleet).hosts[host].application
    data = fleets.master_data(fleets.fleet(fleet))
    assert release.wanted(data, application) == found["name"]
    for other in fleets.fleet(fleet).serving(application):
        assert fleets.pillar(other.id, fleet)["app"]["release"] == found


# The runner


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The master of two applications."""
    fleets.record(tmp_path)
    fleet = fleets.fleet("two-applications")
    definitions = fleets.definitions(fleet.topology)
    found = Site(tmp_path, tmp_path, fleet, definitions, fleets.LOCKS, fleets.TREE)
    monkeypatch.setattr(runner, "site", lambda _: found)
    return found


def module(caller: str) -> ModuleType:
    """The runner, as this minion calls it."""
    return load("_runners/application.py", opts={"id": caller})


def nothing(said: str) -> dict[str, str]:
    """Return the answer to a host that may not build, or may not record."""
    return {"digest": "", "obstacle": said}


def test_o1_a_host_builds_and_the_others_learn_the_digest(site: Site) -> None:
    """O1, X10: The two applications have releases of their own."""
    name, shop = (release.wanted(site.data, one) for one in ("crm", "shop"))
    assert name != shop
    assert module("s1").build(name) == nothing("")
    refused = module("s2").build(name)
    assert refused["obstacle"].startswith(f"s1 builds release {name}, last heard of 0 s ago")
    assert module("w1").build(shop) == nothing("")
    assert module("s1").built(name, DIGEST) == {"digest": DIGEST, "obstacle": ""}
    assert module("s2").built(name, OTHER) == {"digest": DIGEST, "obstacle": ""}
    assert module("s2").build(name) == {"digest": DIGEST, "host": "s1", "obstacle": ""}
    found = releases.read(site.state / releases.FILE)
    assert {one: {*names} for one, names in found.items()} == {"crm": {name}, "shop": {shop}}
    assert (found["crm"][name].host, found["crm"][name].digest) == ("s1", DIGEST)
    assert (found["shop"][shop].host, found["shop"][shop].digest) == ("w1", "")


@pytest.mark.parametrize("caller", ["nas1", "lb1", "salt", "eve", "s9"])
def test_x10_a_host_without_an_application_records_nothing(site: Site, caller: str) -> None:
    """X10, K5: Salt has authenticated the minion's id, and the topology says what it serves."""
    name = release.wanted(site.data, "crm")
    said = nothing(f"{caller} is not a host of the fleet that serves an application")
    assert module(caller).build(name) == said
    assert module(caller).built(name, DIGEST) == said
    assert not (site.state / releases.FILE).exists()


def test_x10_a_host_cannot_record_another_release(site: Site) -> None:
    """X10, K5: Neither one of another application, nor one that nobody wants."""
    name, shop = (release.wanted(site.data, one) for one in ("crm", "shop"))
    for other in (shop, NAME, "", "../crm", f"{name}0"):
        said = nothing(f"{other} is not the release of crm any more, which is {name}")
        assert module("s1").build(other) == said
        assert module("s1").built(other, DIGEST) == said
    assert not (site.state / releases.FILE).exists()


def test_x10_a_host_gets_the_digest_of_a_former_release_and_builds_none(site: Site) -> None:
    """X10, O9, K5: A restored database may belong to it. No other application's host gets it.

    Of a release whose build never ended there is no digest.
    """
    name = release.wanted(site.data, "crm")
    former, unfinished = NAME, NEXT
    with releases.changing(site.state / releases.FILE) as found:
        found["crm"] = {former: Built("s1", 1, DIGEST), unfinished: Built("s1", 1)}
    before = releases.read(site.state / releases.FILE)
    for caller in ("s1", "s2"):
        assert module(caller).build(former) == {"digest": DIGEST, "host": "s1", "obstacle": ""}
    said = "{} is not the release of {} any more, which is {}"
    assert module("s2").build(unfinished) == nothing(said.format(unfinished, "crm", name))
    assert module("s1").built(unfinished, OTHER) == nothing(said.format(unfinished, "crm", name))
    # a host that puts its archive back learns which one counts
    assert module("s1").built(former, OTHER) == {"digest": DIGEST, "obstacle": ""}
    shop = release.wanted(site.data, "shop")
    assert module("w1").build(former) == nothing(said.format(former, "shop", shop))
    assert releases.read(site.state / releases.FILE) == before
    assert module("s1").build(name) == nothing("")


@pytest.mark.parametrize("digest", ["", "d" * 63, "d" * 65, "D" * 64, f"{'d' * 63}\n", None, 7])
def test_x10_a_digest_is_a_sha256(site: Site, digest: Any) -> None:
    """X10, K5: Nothing else is recorded."""
    name = release.wanted(site.data, "crm")
    assert module("s1").built(name, digest) == nothing(f"{digest} is not a SHA-256")
    assert not (site.state / releases.FILE).exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"crm": []}', '{"crm": {"x": {"y": 1}}}', "\xff"])
def test_k5_a_damaged_file_is_an_answer(site: Site, text: str) -> None:
    """K5: The minion gets words, because Salt does not pass an exception to it."""
    name, file = release.wanted(site.data, "crm"), site.state / releases.FILE
    file.write_text(text, encoding="latin-1")
    for answer in (module("s1").build(name), module("s1").built(name, DIGEST)):
        assert answer["digest"] == ""
        assert answer["obstacle"].startswith(f"{file}: the file is damaged: ")
        assert answer["obstacle"].endswith("or delete it: then every release is built again")
    assert file.read_text(encoding="latin-1") == text


def test_k5_a_fault_of_the_repository_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """K5: The minion shows the same error as every command of the master."""

    def broken(_: Any) -> Site:
        raise CommandExecutionError("salina: 1 fault")

    monkeypatch.setattr(runner, "site", broken)
    assert module("s1").build(NAME) == nothing("salina: 1 fault")
    assert module("s1").built(NAME, DIGEST) == nothing("salina: 1 fault")


def test_a_forgotten_release_is_built_again(site: Site) -> None:
    """O1, K5: The other records stay, and the errors name what can be chosen."""
    name, shop = (release.wanted(site.data, one) for one in ("crm", "shop"))
    module("s1").built(name, DIGEST)
    module("w1").built(shop, DIGEST)
    for application, one, said in (
        ("nope", name, 'application: "nope" is not an application; choose one of: crm, shop'),
        ("crm", NAME, f'name: "{NAME}" is not a release; choose one of: {name}'),
        ("shop", name, f'name: "{name}" is not a release; choose one of: {shop}'),
    ):
        with pytest.raises(CommandExecutionError) as caught:
            module("salt").forget(application, one)
        assert str(caught.value) == said
    said = f"crm: the digest of release {name} is forgotten"
    assert module("salt").forget("crm", name) == said
    found = releases.read(site.state / releases.FILE)
    assert found["crm"] == {} and {*found["shop"]} == {shop}
    assert module("s2").build(name) == nothing("")
    assert module("s2").built(name, OTHER) == {"digest": OTHER, "obstacle": ""}


def test_what_runs_where(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """O1, K5: An operator sees a host that runs another release, and one that is silent."""
    name, shop = (release.wanted(site.data, one) for one in ("crm", "shop"))
    since = "2026-11-29 10:00:00"
    status = {"runs": name, "commit": COMMIT, "since": since, "waits": NEXT, "kept": [NAME]}
    asked: list[tuple[Any, ...]] = []

    def answers(_: Any, hosts: list[str], *given: Any) -> dict[str, Any]:
        asked.append((hosts, *given[:2]))
        there = {host: {"ret": status, "retcode": 0} for host in hosts if host != "s3"}
        return there | ({"w2": {"ret": "ERROR: no", "retcode": 1}} if "w2" in hosts else {})

    monkeypatch.setattr(minions, "answers", answers)
    module("s2").built(name, DIGEST)
    module("w1").build(shop)
    shown = module("salt").revisions()
    assert asked == [
        (["s1", "s2", "s3"], "release.status", []),
        (["w1", "w2", "w3"], "release.status", []),
    ]
    assert shown["crm"] == {
        "revision": "14.0",
        "commit": COMMIT,
        "repositories": {},
        "wanted": name,
        "built": "s2",
        "hosts": {"s1": status, "s2": status, "s3": "it did not answer"},
    }
    assert (shown["shop"]["wanted"], shown["shop"]["built"]) == (shop, "")
    assert shown["shop"]["hosts"]["w2"] == "ERROR: no"
    assert json.loads(json.dumps(shown)) == shown


def test_x4_a_minion_may_call_only_these_runners(repository: Path) -> None:
    """X4, X10: The patterns of `peer_run` match no other function of a runner."""
    text = (repository / "master.d/20-security.conf").read_text()
    patterns = yaml.safe_load(text)["peer_run"][".*"]
    functions = {
        f"{file.stem}.{name}"
        for file in (repository / "_runners").glob("*.py")
        for name in re.findall(r"^def ([a-z]\w*)\(", file.read_text(), re.M)
    }
    assert {"application.forget", "application.revisions"} <= functions
    assert {one for one in functions if any(re.match(each, one) for each in patterns)} == {
        *("application.build", "application.built", "certificates.sign"),
        *("turn.end", "turn.take"),
    }
