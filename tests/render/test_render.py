"""Every role of every fleet renders, its requisites resolve, and its templates give files."""

from __future__ import annotations

import re

import pytest

from tests import fleets
from tests.render.minion import Minion
from tools import software

#: States that wait for other hosts, and the one that restarts the minion.
NOT_ALONE = {
    *("gluster.peers", "gluster.volume", "gluster.mounted", "quorum.joined", "quorum.serves"),
    *("patroni.its_turn", "patroni.working", "patroni.configured", "database.present"),
    *("application.database_answers", "once.done", "application.healthy"),
    *("release.present", "release.active"),
    "daemon.current_afterwards",
}

#: States by which a running service takes changed settings, and the waits that may stand before
#: them: on a host with several roles, etcd and GlusterFS come first. Neither needs Patroni.
REPAIRS: dict[str, set[str]] = {
    "odoo-reconfigured": set(),
    "node-reconfigured": set(),
    "patroni-current": {"quorum.joined", "gluster.peers", "gluster.volume"},
}

CERTIFICATES = re.compile(f"canary-({fleets.PUBLIC_OF_FILES}|{fleets.PUBLIC})")


CASES = (
    {f"{fleet}-{host}": (fleet, host, None, "") for fleet, host in fleets.kinds()}
    | {
        f"{fleet}-{host}-by-load": (fleet, host, fleets.BY_LOAD, "")
        for fleet, host in fleets.balancers()
    }
    | {f"{fleet}-{host}-acme": (fleet, host, fleets.ACME, "") for fleet, host in fleets.balancers()}
    | {
        f"{fleet}-{host}-second": (fleet, host, fleets.SECOND, "")
        for fleet, host in fleets.backed_up()
    }
    | {f"s1-{name}": ("default", "s1", None, name) for name in fleets.APPLICATIONS}
)


PARAMETERS = [
    pytest.param(case, id=name, marks=[] if case[0] in fleets.SOON else pytest.mark.further)
    for name, case in CASES.items()
]


@pytest.fixture(scope="module", params=PARAMETERS)
def minion(request: pytest.FixtureRequest) -> Minion:
    """Each host of each fleet, and an app host for each application; compiled once."""
    fleet, host, own, application = request.param
    return Minion(host, fleets.pillar(host, fleet, own, application))


def test_host(minion: Minion) -> None:
    """S15: All states compile; no file is empty, and no template fails or leaves a value out."""
    assert minion.chunks
    for path, content in minion.files:
        assert content.strip(), path
        if path.endswith(".py"):
            continue  # no template
        own = content.replace("{{ $labels.", "")  # Prometheus fills these in
        lines = [line for line in own.splitlines() if not line.lstrip().startswith("#")]
        assert not [line for line in lines if "None" in line or "{{" in line], path


def test_s16_everything_on_a_host_has_its_purpose(minion: Minion) -> None:
    """S16: Each package and each unit, in `software` of a role of the host, of its kind, or of
    every host.
    """
    pillar = minion.opts["pillar"]
    kind = pillar["app"]["kind"] if "app" in pillar else None
    known = software.purposes(pillar["host"]["roles"], kind)
    assert [one for one in software.items(minion.chunks) if one.name not in known] == []


def documented(host: str) -> set[tuple[str, str]]:
    """Return the names in docs/deployment.md for a host, each with what it is."""
    text = (fleets.REPOSITORY / "docs/deployment.md").read_text(encoding="utf-8")
    found: set[tuple[str, str]] = set()
    for section in text.partition("<!-- begin")[2].partition("<!-- end")[0].split("\n### ")[1:]:
        title, _, body = section.partition("\n")
        if title == "Every host" or host in title.partition(":")[0].split(", "):
            found |= {*re.findall(r"^\| `(.*)` \| (package|unit) \| \S", body, re.MULTILINE)}
    return found


def test_s16_the_document_lists_what_is_installed_and_started(
    minion: Minion, request: pytest.FixtureRequest
) -> None:
    """S16: For each kind of host of the default fleet, as its states have it."""
    fleet, host, own, application = request.node.callspec.params["minion"]
    if (fleet, own, application) != ("default", None, ""):
        return  # the document describes the default fleet
    done = [(f"{one['state']}.{one['fun']}", one) for one in minion.chunks]
    packages = {name for what, one in done if what == "pkg.installed" for name in one["pkgs"]}
    starts = ("service.running", "daemon.running", "daemon.at_boot", "quorum.joined")
    units = {one["name"] for what, one in done if what in starts}
    assert documented(host) == {
        *((name, "package") for name in packages),
        *((name, "unit") for name in units),
    }
    others = {what for what, _ in done if what.startswith("pkg.")} - {"pkg.installed"}
    assert not others, "tools/software.py does not know these"


def test_k1_the_health_knows_every_timer_and_socket(minion: Minion) -> None:
    """K1: Those that the states start, and no others: what they start never runs otherwise."""
    checks = minion.opts["pillar"]["host"]["checks"]
    (known,) = (one["arguments"]["units"] for one in checks if one["probe"] == "triggers")
    starts = (("service", "running"), ("daemon", "running"))
    assert sorted(known) == sorted(
        one["name"]
        for one in minion.chunks
        if (one["state"], one["fun"]) in starts and one["name"].endswith((".timer", ".socket"))
    )


def test_k1_no_restart_is_forgotten(minion: Minion) -> None:
    """K1: A run may be killed when it has written a file, and the next run sees no change then.

    So the states compare times. systemd reads a timer's new times when it reads the file.
    """
    states = [(f"{one['state']}.{one['fun']}", one) for one in minion.chunks]
    assert not [one["__id__"] for what, one in states if what == "service.running"]
    read = {file for what, one in states if what == "daemon.current" for file in one["files"]}
    written = {one["name"] for what, one in states if what == "file.managed"}
    started = [one["name"] for what, one in states if what == "daemon.running"]
    for name in started:
        file = f"/etc/systemd/system/{re.sub('@.*[.]', '@.', name)}"
        if name.endswith((".socket", ".target")) and file in written:
            assert file in read, name


def test_what_a_host_prepares_is_its_own_and_waits_for_nobody(minion: Minion) -> None:
    """Before its tier's turn a host does a part of its states, none of which needs another host."""
    prepared = minion.apply("prepare")
    every = {(chunk["__id__"], chunk["state"], chunk["name"]) for chunk in minion.chunks}
    assert {(chunk["__id__"], chunk["state"], chunk["name"]) for chunk in prepared} <= every
    assert not {f"{chunk['state']}.{chunk['fun']}" for chunk in prepared} & NOT_ALONE


def test_k2_a_directory_is_made_before_what_is_in_it(minion: Minion) -> None:
    """K2: Salt does not keep the order of `names`, so none of them is in another one."""
    found: dict[str, list[str]] = {}
    for one in minion.chunks:
        if one["state"] == "file" and not one.get("makedirs"):
            found.setdefault(one["__id__"], []).append(one["name"].rstrip("/"))
    for name, paths in found.items():
        inside = [one for one in paths for other in paths if one.startswith(f"{other}/")]
        assert not inside, name


def test_packages_that_are_installed_together_wait_for_no_file(minion: Minion) -> None:
    """S15: The first state of them installs all, as soon as its own requisites allow it."""
    for one in minion.chunks:
        if (one["state"], one["fun"]) == ("pkg", "installed") and one.get("aggregate"):
            needed = [key for each in one.get("require", []) for key in each]
            assert "file" not in needed, one["__id__"]


def test_s12_the_turn_ends_after_everything_else(minion: Minion) -> None:
    """S12: Only the record, and the restart of the minion itself, come after its end."""
    names = [chunk["__id__"] for chunk in minion.chunks]
    later = {"turn-ended", "minion-current", "applied-recorded"}
    assert set(names[names.index("turn-ended") :]) <= later


def test_s12_a_repair_waits_for_nobody(minion: Minion) -> None:
    """S12: A running service takes its settings before any state that waits for another host.

    Such a state may be waiting for what the settings repair. So no such state stands before it,
    and it requires none, however far before. A state that builds a release does not either.
    """
    waits = NOT_ALONE | {"release.built"}
    found = [each for each in minion.chunks if each["__id__"] in REPAIRS]
    for repair in found:
        before = minion.chunks[: minion.chunks.index(repair)]
        waited = {f"{each['state']}.{each['fun']}" for each in before} & waits
        assert waited <= REPAIRS[repair["__id__"]], repair["__id__"]
        files = set(repair.get("settings") or repair["files"])
        written = {each["name"] for each in before}
        late = files - written - {f"/etc/systemd/system/{repair['name']}.service"}
        assert not late, repair["__id__"]
    hosts = {"odoo-configuration", "node-environment-file", "patroni-settings"}
    assert len(found) == len({each["__id__"] for each in minion.chunks} & hosts)
    for production in [one for one in minion.chunks if one["__id__"] == "application-production"]:
        kind = minion.opts["pillar"]["app"]["kind"]
        for wanted in {"application": f"{kind}-reconfigured"}, {"release": "application-first"}:
            assert wanted in production["require"]


def secret(text: str) -> bool:
    """Tell whether a text has a secret."""
    return "canary-" in CERTIFICATES.sub("", text) or "PRIVATE KEY" in text


def test_secrets_stay_out_of_readable_files(minion: Minion) -> None:
    """S6, K4: A file that has a secret is not readable by everyone, and Salt never shows its
    diff.
    """
    for chunk in minion.chunks:
        if (chunk["state"], chunk["fun"]) != ("file", "managed"):
            continue
        if secret(minion.render(chunk)):
            assert str(chunk.get("mode", "0644"))[-1] == "0", chunk["name"]
            assert chunk.get("show_changes") is False, chunk["name"]  # Salt ignores show_diff


def test_no_secret_is_in_a_state(minion: Minion) -> None:
    """S6, K4: No argument of a state has a secret, because Salt keeps and shows arguments."""
    for chunk in minion.chunks:
        assert not secret(str(chunk)), chunk["__id__"]
