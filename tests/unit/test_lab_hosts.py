"""Hosts that come and go in the lab: made, removed, and left alone (S10). LXC itself is faked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cloud import server
from lab.commands import cli, lifecycle, status
from lab.errors import LabError
from lab.machines import (
    containers,
    faults,
    hosts,
    inventory,
    keys,
    minions,
    salt_master,
    topology_file,
    userdata,
)
from lab.machines.plan import Machine, Plan
from lab.paths import REPOSITORY
from salina_fleet.provision.userdata import SETTINGS_SOURCE, render
from tests.fleets import DEFAULT

MASTER_CONFIG = "lxc.rootfs.path = overlayfs:{}:/delta\n"


class Lab:
    """The lab's folders in a temporary place, and what LXC would say of its containers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.states: dict[str, str] = {}
        self.master = self.container("salt", "RUNNING")
        self.image = folder / "image"
        self.image.mkdir()
        (self.master / "config").write_text(MASTER_CONFIG.format(self.image))

    def container(self, name: str, state: str = "STOPPED") -> Path:
        path = self.folder / "containers" / f"salina-{name}"
        path.mkdir(parents=True)
        self.states[name] = state
        return path

    def hosts(self) -> set[str]:
        return {path.name for path in (self.folder / "containers").iterdir()}

    def keep(self, members: list[str], unfinished: list[str]) -> None:
        state = self.master / "delta/var/lib/salina"
        state.mkdir(parents=True, exist_ok=True)
        (state / "members.json").write_text(json.dumps({"app": members}))
        (state / "unfinished.json").write_text(json.dumps({"app": unfinished}))

    def set(self, state: str, machine: Machine) -> None:
        self.states[machine.name] = state


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    made = Lab(tmp_path)
    for module in (hosts, inventory, containers):
        monkeypatch.setattr(module, "CONTAINERS", tmp_path / "containers")
    monkeypatch.setattr(keys, "KEYS", tmp_path / "keys")
    monkeypatch.setattr(hosts, "IMAGES_OF", tmp_path / "images.json")
    monkeypatch.setattr(topology_file, "TOPOLOGY", DEFAULT)
    monkeypatch.setattr(faults, "FAULTS", tmp_path / "faults.json")
    monkeypatch.setattr("lab.exclusive.HOSTS_LOCK", tmp_path / "lock")
    monkeypatch.setattr(containers, "state", lambda machine: made.states.get(machine.name, ""))
    monkeypatch.setattr(containers, "start", lambda machine: made.set("RUNNING", machine))
    monkeypatch.setattr(containers, "stop", lambda machine, kill: made.set("STOPPED", machine))
    yield made


def user_data(private: str = "private", host: str = "s9") -> str:
    settings = (REPOSITORY / SETTINGS_SOURCE).read_text()
    return render(host, "10.1.5.2", private, f"of {private}", "master", settings)


# Made and removed


def test_s10_create_makes_a_host_from_its_user_data(lab: Lab) -> None:
    """On the running lab's image; the lab keeps its key, for `rebuild`."""
    begun = int(time.time())
    assert server.create("s9", user_data()) == "created"
    files = lab.folder / "containers/salina-s9/delta/etc"
    assert (files / "salt/minion").read_text() == "master: 10.1.5.2\nid: s9\n"
    assert (files / "salt/pki/minion/minion.pem").read_text() == "private"
    assert (files / "hostname").read_text() == "s9\n"
    assert (files / "hostname").stat().st_mtime >= begun  # Salt tells keys apart by it
    config = (lab.folder / "containers/salina-s9/config").read_text()
    assert f"overlayfs:{lab.image}:" in config and "10.1.3.19/24" in config
    assert lab.states["s9"] == "RUNNING"
    assert keys.pair("minion-s9") == keys.Pair("private", "of private")


def test_s10_create_again_changes_nothing(lab: Lab) -> None:
    """S10, K1: A repeated call changes nothing."""
    server.create("s9", user_data())
    before = (lab.folder / "containers/salina-s9").stat().st_ino
    assert server.create("s9", user_data()) == "already runs"
    assert (lab.folder / "containers/salina-s9").stat().st_ino == before


@pytest.mark.parametrize("state", ["STOPPED", "FROZEN"])
def test_a_host_that_does_not_run_is_made_anew(lab: Lab, state: str) -> None:
    """S10: so are the notes about faults it had."""
    server.create("s9", user_data())
    faults.write([faults.Fault(faults.Kind.FREEZE, "s9")])
    lab.states["s9"] = state
    assert server.create("s9", user_data()) == "created"
    assert lab.states["s9"] == "RUNNING" and faults.read() == []


def test_a_host_with_another_key_is_made_anew(lab: Lab) -> None:
    server.create("s9", user_data("old"))
    assert server.create("s9", user_data("new")) == "created"
    assert keys.pair("minion-s9").private == "new"


@pytest.mark.parametrize("leftover", ["salina-s9", "salina-s9.unfinished"])
def test_what_a_killed_cloud_left_stands_in_nobodys_way(lab: Lab, leftover: str) -> None:
    (lab.folder / "containers" / leftover / "delta").mkdir(parents=True)
    assert server.create("s9", user_data()) == "created"
    assert lab.hosts() == {"salina-salt", "salina-s9"}
    (lab.folder / "containers" / leftover / "delta").mkdir(parents=True, exist_ok=True)
    assert server.destroy("s9", "") == "removed"
    assert lab.hosts() == {"salina-salt"}


def test_rebuilt_it_has_the_key_it_had(lab: Lab) -> None:
    """S10: `up`, `rebuild` and the provisioner make the same host from the same key."""
    lab.keep(["s1"], [])
    keys.keep(keys.MASTER, keys.Pair("", "master"))
    server.create("s9", user_data())
    machine = inventory.current_plan().machine("s9")
    assert containers.runs(
        machine, hosts.initial_files(inventory.current_plan(), machine, topology_file.read())
    )


def test_s10_destroy_leaves_nothing(lab: Lab) -> None:
    server.create("s9", user_data())
    faults.write([faults.Fault(faults.Kind.LINK_DOWN, "s9")])
    assert server.destroy("s9", "") == "removed"
    assert lab.hosts() == {"salina-salt"} and lab.states["s9"] == "STOPPED"
    assert not list(keys.KEYS.iterdir()) and faults.read() == []
    assert server.destroy("s9", "") == "does not exist"


@pytest.mark.parametrize("host", ["nas1", "salt", "c1", "s11", "s01", "../s9", "", "s9\n"])
def test_only_hosts_of_pools_come_and_go(lab: Lab, host: str) -> None:
    """S10: no static host, no client, nothing beyond the pool."""
    told = r"is not a host of a pool; choose one of: s1, s2, .* s10$"
    with pytest.raises(LabError, match=told):
        server.create(host, user_data(host=host))
    with pytest.raises(LabError, match=told):
        server.destroy(host, "")
    assert lab.hosts() == {"salina-salt"}


def test_with_bad_user_data_nothing_is_done(lab: Lab) -> None:
    server.create("s9", user_data())
    with pytest.raises(LabError, match="id: must be s9"):
        server.create("s9", user_data(host="s8"))
    assert lab.states["s9"] == "RUNNING"


def test_without_a_lab_it_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology_file, "TOPOLOGY", lab.folder / "none")
    with pytest.raises(LabError, match="there is no lab"):
        server.create("s9", user_data())


# Left alone


@pytest.fixture
def change(lab: Lab) -> Lab:
    """A change is bringing s4 and taking s2; s9 was added; s10 and old are nobody's."""
    lab.keep(["s1", "s3", "s4", "s9"], ["s2", "s4"])
    for name in ("s1", "s2", "s3", "s9", "s10", "old"):
        lab.container(name)
    return lab


def test_commands_know_all_hosts_there_are(change: Lab) -> None:
    """S10: Hosts that are not members (s2, s10) count, and members without a host (s4)."""
    names = {
        machine.name for machine in inventory.current_plan().machines if "app" in machine.roles
    }
    assert names == {"s1", "s2", "s3", "s4", "s9", "s10"}


def test_a_member_without_a_host_is_told(change: Lab) -> None:
    with pytest.raises(LabError, match="s4 does not exist"):
        cli.pick(inventory.current_plan(), ["s4"])


def test_heal_passes_over_a_member_without_a_host(
    change: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(containers, "start", lambda machine: started.append(machine.name))
    monkeypatch.setattr(containers, "running", lambda: set[str]())
    monkeypatch.setattr(containers, "frozen", lambda: set[str]())
    faults.heal(inventory.current_plan().machines)
    assert started == ["salt"]  # the only one here with an image


def test_s10_up_leaves_hosts_of_a_change_alone(
    change: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are not made, not started, not removed; hosts that nobody names go."""
    brought: list[Plan] = []
    nothing = lambda *_: None  # noqa: E731
    for module, names in {
        server: ["ensure"],
        lifecycle.network: ["find", "ensure"],
        lifecycle.containers: ["remove_groups"],
        faults: ["unfreeze", "heal"],
        salt_master: ["accept", "ensure"],
        minions: ["wait_until_connected"],
    }.items():
        for name in names:
            monkeypatch.setattr(module, name, nothing)
    monkeypatch.setattr(hosts, "ensure_machines", lambda wanted, *_: brought.append(wanted))
    lifecycle.bring_up(topology_file.read(), {"debian-12": change.image}, own=True)
    (wanted,) = brought
    apps = {machine.name for machine in wanted.machines if "app" in machine.roles}
    assert apps == {"s1", "s3", "s9"}
    assert change.hosts() == {f"salina-{name}" for name in ("salt", "s1", "s2", "s3", "s9")}
    assert "a change to a pool has not finished its work on s2, s4" in capsys.readouterr().out


def test_s10_the_master_forgets_keys_that_nobody_names(
    change: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {"s1", "s2", "s3", "s4", "s9", "nas1", "salt"} <= inventory.expected_hosts(
        topology_file.read()
    )
    assert not {"s10", "old"} & inventory.expected_hosts(topology_file.read())
    ran: list[list[str]] = []
    monkeypatch.setattr(containers, "attach", lambda machine, argv: ran.append(argv) or argv)
    monkeypatch.setattr(salt_master, "run", lambda argv: None)
    salt_master.forget_keys(inventory.current_plan().master, ["s10"])
    (command,) = ran
    assert "/etc/salt/pki/master/minions/s10" in command
    assert all(path.endswith("/s10") for path in command if path.startswith("/"))


@pytest.mark.parametrize("text", ["{}", '{"web": ["w1"]}', "half"])
def test_a_file_of_another_topology_names_nobody(lab: Lab, text: str) -> None:
    lab.keep(["s1"], [])
    (lab.master / "delta/var/lib/salina/unfinished.json").write_text(text)
    assert inventory.changing_hosts(topology_file.read()) == set()


def test_of_a_host_that_is_no_member_nothing_is_expected(
    change: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S10: and a member without a host, or a cloud that has ended, is not well."""
    monkeypatch.setattr(
        status.containers, "existing", lambda: {f"salina-{h}" for h in ("s1", "s2")}
    )
    states = {f"salina-{host}": "RUNNING" for host in ("s1", "s2")}
    monkeypatch.setattr(status.containers, "states", lambda: states)
    monkeypatch.setattr(status, "probe", lambda *_: [])
    monkeypatch.setattr(status, "ping", lambda *_: {"s1"})
    monkeypatch.setattr(server, "pid", lambda: None)
    hosts, tiers, others = status.look(inventory.current_plan(), topology_file.read())
    rows = {row.name: row for row in (*hosts, *tiers, *others.values())}
    assert rows["s1"].good
    assert rows["s2"].good and rows["s2"].roles == "app, not a member"
    assert [finding.detail for finding in rows["s4"].findings] == ["", "missing"]
    assert rows["app"].findings[0].detail == "1 of 4 are well"
    assert not rows["cloud"].good
    monkeypatch.setattr(server, "pid", lambda: 1)
    assert status.makes_hosts().good


# bin/lab add and remove


@pytest.fixture
def asked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The actions of `add` and `remove` beside containers, in order."""
    done: list[str] = []
    lab.keep(["s1", "s2"], [])
    lab.container("s1", "RUNNING")
    (lab.folder / "containers/salina-s1/config").write_text(MASTER_CONFIG.format(lab.image))
    monkeypatch.setattr("lab.exclusive.LOCK", lab.folder / "exclusive")
    monkeypatch.setattr(containers, "put", lambda machine, files: done.extend(files))
    monkeypatch.setattr(
        salt_master, "forget_keys", lambda master, names: done.append(f"no {names[0]}")
    )
    monkeypatch.setattr(
        minions, "wait_until_connected", lambda plan, machines: done.append("minion")
    )

    def ask(action: str, host: str, given: str = "") -> None:
        done.append(f"{action} {host}")
        if given:
            pair = keys.pair(keys.minion(host))
            assert userdata.parse(given, host).pair == pair

    monkeypatch.setattr(server, "ask", ask)
    return done


def test_s10_add_accepts_the_key_first(asked: list[str]) -> None:
    """The key is known before the host exists; it goes the provisioner's way."""
    lifecycle.add("s9")
    assert asked == ["etc/salt/pki/master/minions/s9", "create s9", "minion"]


@pytest.mark.parametrize(
    ("host", "told"),
    [("s9", "s9 joins its pool by itself"), ("s2", "s2 is a member of its pool, but still empty")],
)
def test_s10_what_follows_is_told(
    asked: list[str], capsys: pytest.CaptureFixture[str], host: str, told: str
) -> None:
    lifecycle.add(host)
    assert told in capsys.readouterr().out


def test_s10_remove_forgets_the_key_last(asked: list[str], lab: Lab) -> None:
    lab.container("s9", "RUNNING")
    lifecycle.remove("s9")
    assert asked == ["destroy s9", "no s9"]


def test_a_member_that_was_removed_is_told(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lifecycle.remove("s1")
    assert "s1 is still a member" in capsys.readouterr().out


def test_add_and_remove_tell_what_is_wrong(asked: list[str]) -> None:
    with pytest.raises(LabError, match="s1 already exists"):
        lifecycle.add("s1")
    with pytest.raises(LabError, match="the host s9 does not exist"):
        lifecycle.remove("s9")
    for command in (lifecycle.add, lifecycle.remove):
        with pytest.raises(LabError, match="'nas1' is not a host of a pool"):
            command("nas1")
    assert not asked


# Platforms


def test_a_new_host_has_the_image_of_its_platform(lab: Lab) -> None:
    """Also one that a pool gets later; without a record the master's image is the only one."""
    machine = Machine("s9", ("app",), (), "10.1.5.19", "debian-13")
    master = Machine("salt", ("master",), (), "10.1.5.2")
    assert hosts.image_of(machine, master) == lab.image
    hosts.keep_images({"debian-12": lab.image})
    hosts.keep_images({"debian-13": lab.folder / "trixie"})
    assert hosts.image_of(machine, master) == lab.folder / "trixie"
    assert hosts.image_of(master, master) == lab.image


def test_a_container_of_another_platform_is_replaced(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, Path]] = []
    create = lambda machine, base, _: made.append((machine.name, base))  # noqa: E731
    monkeypatch.setattr(containers, "create", create)
    monkeypatch.setattr(containers, "is_current", lambda _: True)
    monkeypatch.setattr(containers, "running", lambda: {"salina-salt", "salina-s1"})
    monkeypatch.setattr(hosts, "initial_files", lambda *_: {})
    monkeypatch.setattr(keys, "generate", lambda: keys.Pair("private", "public"))
    lab.container("s1", "RUNNING")
    (lab.folder / "containers/salina-s1/config").write_text(MASTER_CONFIG.format(lab.image))
    hosts.keep_images({"debian-12": lab.image, "debian-13": lab.folder / "trixie"})
    machines = (
        Machine("salt", ("master",), (), "10.1.5.2"),
        Machine("s1", ("app",), (), "10.1.5.11", "debian-13"),
    )
    hosts.ensure_machines(Plan((), machines), topology_file.read())
    assert made == [("s1", lab.folder / "trixie")]
    assert lab.states["s1"] == "RUNNING"
