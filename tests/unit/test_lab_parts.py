"""The parts of the lab that need no running lab."""

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from lab import process
from lab.commands import cli, lifecycle, relay
from lab.errors import LabError
from lab.exclusive import exclusive, hosts_lock
from lab.machines import faults, inventory, keys, plan, salt_master, snapshots, topology_file
from lab.machines.plan import Interface, Machine
from lab.mirror import repositories
from lab.paths import digest
from salina_fleet import connections
from salina_fleet.model.topology import Topology
from tests import fleets
from tests.upstream import Upstream


def test_topology_of_the_repository_is_its_own() -> None:
    text, own = topology_file.choose(None, None)
    assert own and topology_file.parse(text).default.definition == "odoo-14.0"


def test_another_application_replaces_the_topologys() -> None:
    text, own = topology_file.choose(None, "odoo-19.0")
    assert not own
    assert topology_file.parse(text).default.definition == "odoo-19.0"
    assert (
        topology_file.parse(text).hosts
        == topology_file.parse(topology_file.choose(None, None)[0]).hosts
    )
    assert topology_file.choose(None, "crm=odoo-19.0") == (text, own)


def test_another_application_replaces_one_of_several() -> None:
    """`make up TOPOLOGY=… APP=shop=odoo-19.0`; without a name it isn't said which."""
    file = fleets.OTHERS["two-applications"]
    found = topology_file.parse(topology_file.choose(file, "shop=odoo-19.0")[0]).applications
    assert [one.definition for one in found.values()] == ["odoo-14.0", "odoo-19.0"]
    for given in ("odoo-19.0", "shp=odoo-19.0"):
        with pytest.raises(LabError) as caught:
            topology_file.choose(file, given)
        assert f"APP={given} must name one of the topology's applications: crm, shop" in str(
            caught.value
        )
        assert "APP=crm=odoo-19.0 or APP=shop=odoo-19.0" in caught.value.advice


def test_missing_and_faulty_topologies_are_told(tmp_path: Path) -> None:
    file = tmp_path / "topology.yaml"
    with pytest.raises(
        LabError, match="1 fault\n  the file cannot be read: No such file or directory"
    ):
        topology_file.choose(file, None)
    for application in (None, "odoo-19.0"):
        file.write_bytes(b"\x7fELF\xff")
        with pytest.raises(LabError, match=f"{file}: 1 fault\n  the file is not text in UTF-8"):
            topology_file.choose(file, application)
        file.write_text("links: {}\nlinks: {}\n")
        with pytest.raises(LabError, match="links: is given twice"):
            topology_file.choose(file, application)
    with pytest.raises(LabError, match="missing"):
        topology_file.parse("service: {}")


def test_the_summary_has_each_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 5: where it is, from here as well, and where its password is."""
    said: list[str] = []
    monkeypatch.setattr(lifecycle.out, "print", lambda text="": said.append(text.strip()))
    topology = fleets.topology("two-applications")
    shop = topology.applications["shop"].definition
    known = topology_file.definitions(topology)
    known[shop] = replace(known[shop], login="admin2")
    lifecycle.summary(plan.make(topology, {}), topology, known)
    text = "\n".join(said)
    assert "login: admin, password: bin/lab exec" in text
    assert "login: admin2, password: bin/lab exec" in text
    for name, here in (("crm", "crm.example"), ("shop", "shop.example")):
        assert f"https://{name}.example/ for the clients c1 and c2" in text
        assert f"https://{here}:8443/ on this machine" in text
        assert f"needs the line `127.0.0.1 {here}` in /etc/hosts" in text
        assert f"exec salt -- cat /var/lib/salina/secrets/app-{name}-login" in text


def test_s13_the_summary_has_the_page_of_monitoring(monkeypatch: pytest.MonkeyPatch) -> None:
    """S13: Where it is, and where its password is; a fleet without one has no such line."""
    said: list[str] = []
    monkeypatch.setattr(lifecycle.out, "print", lambda text="": said.append(text.strip()))
    for name in ("default", "two-applications"):
        topology = fleets.topology(name)
        known = topology_file.definitions(topology)
        lifecycle.summary(plan.make(topology, {}), topology, known)
    text = "\n".join(said)
    assert text.count("is the page of monitoring") == 1
    assert "https://10.1.2.5/ is the page of monitoring, for the clients c1 and c2" in text
    assert "login: operator, password: bin/lab exec salt -- cat /var/lib/salina/secrets/mon" in text


def test_unknown_application_is_told() -> None:
    with pytest.raises(LabError, match=r"choose one of: .*odoo-14\.0, .*sample-crm"):
        topology_file.choose(None, "odoo-1.0")


def defined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: str) -> Topology:
    """Return a topology whose application has a definition with this repository."""
    text = (topology_file.APPLICATIONS / "crm-2017.yaml").read_text()
    (tmp_path / "own.yaml").write_text(
        text.replace("https://github.com/CORE-UPM/CRM_2017.git", repository)
    )
    text = topology_file.OWN_TOPOLOGY.read_text().replace(
        "definition: odoo-14.0", "definition: own"
    )
    monkeypatch.setattr(topology_file, "APPLICATIONS", tmp_path)
    return topology_file.parse(text)


def test_k5_a_repository_on_the_host_itself_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5: The lab's hosts have no such directory. SOURCE gives it to them."""
    topology = defined(tmp_path, monkeypatch, "https://git.example/crm.git")
    assert list(topology_file.definitions(topology)) == ["own"]
    file = tmp_path / "own.yaml"
    file.write_text(file.read_text().replace("https://git.example", "file:///srv/git"))
    with pytest.raises(
        LabError, match=r"own\.yaml: source\.repository is file:///srv/git/crm\.git, a directory"
    ) as caught:
        topology_file.definitions(topology)
    assert caught.value.advice.endswith("make up APP=own SOURCE=/srv/git/crm.git")
    (tmp_path / "own.yaml").write_text("kind: php")
    with pytest.raises(LabError, match=r"own\.yaml"):
        topology_file.definitions(topology)


def test_a_clone_takes_the_place_of_a_repository(tmp_path: Path) -> None:
    text, _ = topology_file.choose(None, "odoo-19.0")
    one, two = topology_file.parse(text), fleets.topology("two-applications")
    assert topology_file.sources(one, None, None) == {}
    for given in (str(tmp_path), f"crm={tmp_path}"):
        assert topology_file.sources(one, given, "feature") == {"odoo-19.0": tmp_path}
    for topology, given, revision, message in (
        (two, str(tmp_path), None, "must name one of the topology's applications: crm, shop"),
        (one, f"shop={tmp_path}", None, "must name one of"),
        (one, str(tmp_path / "missing"), None, "missing is not a directory"),
        (one, None, "feature", "REVISION=feature needs SOURCE=DIR"),
        (two, f"crm={tmp_path}", None, "the lab makes the repository of odoo-14.0 itself"),
    ):
        with pytest.raises(LabError, match=message):
            topology_file.sources(topology, given, revision)


def test_the_master_sees_another_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only in the definition with the clone, and only as long as it is given."""
    monkeypatch.setattr(topology_file, "DEFINITIONS", tmp_path / "app")
    monkeypatch.setattr(topology_file, "FORMER", tmp_path / "app.former")
    topology_file.write_revision({"odoo-14.0": tmp_path}, "feature")
    found = {path.stem: path for path in (tmp_path / "app").iterdir()}
    assert "revision: feature\n" in found["odoo-14.0"].read_text()
    own = topology_file.APPLICATIONS / "odoo-14.0.yaml"
    expected = yaml.safe_load(own.read_text())
    expected["source"]["revision"] = "feature"
    assert yaml.safe_load(found["odoo-14.0"].read_text()) == expected
    other = topology_file.APPLICATIONS / "sample-crm.yaml"
    assert found["sample-crm"].read_text() == other.read_text()
    topology_file.write_revision({}, None)
    assert not (tmp_path / "app").exists()


def test_the_definitions_of_a_running_master_never_vanish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bind mount shows the directory itself, here by its open descriptor."""
    own, shown = tmp_path / "own", tmp_path / "app"
    own.mkdir()
    for name in ("crm", "shop"):
        (own / f"{name}.yaml").write_text("source: {revision: main}\n")
    monkeypatch.setattr(topology_file, "APPLICATIONS", own)
    monkeypatch.setattr(topology_file, "DEFINITIONS", shown)
    monkeypatch.setattr(topology_file, "FORMER", tmp_path / "app.former")

    def seen() -> dict[str, str]:
        return {
            name: yaml.safe_load(Path(f"/proc/self/fd/{mount}", name).read_text())["source"][
                "revision"
            ]
            for name in sorted(os.listdir(mount))
        }

    topology_file.write_revision({"crm": tmp_path}, "one")
    mount = os.open(shown, os.O_RDONLY)
    opened = (shown / "crm.yaml").open()
    try:
        assert seen() == {"crm.yaml": "one", "shop.yaml": "main"}
        (own / "shop.yaml").unlink()
        (own / "new.yaml").write_text("source: {revision: main}\n")
        topology_file.write_revision({"crm": tmp_path}, "two")
        assert seen() == {"crm.yaml": "two", "new.yaml": "main"}
        assert yaml.safe_load(opened)["source"]["revision"] == "one"  # whole, although replaced
        topology_file.write_revision({}, None)
        assert seen() == {"crm.yaml": "two", "new.yaml": "main"}  # until the mount is gone
        assert not shown.exists()
    finally:
        opened.close()
        os.close(mount)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.former", "own"]
    topology_file.write_revision({"crm": tmp_path}, "three")
    assert sorted(path.name for path in shown.iterdir()) == ["crm.yaml", "new.yaml"]


def test_a_mount_that_shows_the_right_definitions_stays() -> None:
    """A reader would otherwise see the repository's own for a moment."""
    none = "while umount --lazy /srv/salina/pillar/app 2>/dev/null; do :; done"
    assert salt_master.shown_by("app", False) == none
    assert salt_master.shown_by("app", True) == (
        "[ /srv/override/app -ef /srv/salina/pillar/app ] || "
        f"{{ {none}; mount --bind /srv/override/app /srv/salina/pillar/app; }}"
    )


def test_a_topology_that_is_the_same_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The master may be reading it, and a file that is mounted cannot be replaced."""
    monkeypatch.setattr(topology_file, "OVERRIDE", tmp_path)
    monkeypatch.setattr(topology_file, "TOPOLOGY", tmp_path / "own.yaml")
    topology_file.write("a: 1\n", False)
    file = tmp_path / "topology.yaml"
    os.utime(file, (1, 1))
    topology_file.write("a: 1\n", False)
    assert file.stat().st_mtime == 1
    topology_file.write("a: 2\n", False)
    assert file.read_text() == "a: 2\n" == (tmp_path / "own.yaml").read_text()
    topology_file.write("a: 2\n", True)
    assert not file.exists()


def test_connections_of_known_minions() -> None:
    shown = (
        "0 0 10.1.5.2:4505 10.1.5.11:40000\n"
        "0 0 [::ffff:10.1.5.2]:4505 [::ffff:10.1.5.12]:40001\n"
        "0 0 [fd00::2]:4505 [fd00::13]:40002\n"
        "0 0 10.1.5.2:4505 10.1.5.99:40003\n"
    )
    names = {"10.1.5.11": "s1", "10.1.5.12": "s2", "fd00::13": "s3"}
    assert connections.peers(shown, names) == {("s1", "40000"), ("s2", "40001"), ("s3", "40002")}


def test_members_of_another_topology_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "CONTAINERS", tmp_path)
    topology = topology_file.parse(topology_file.choose(None, None)[0])
    assert inventory.active_members(topology) == {"app": ["s1", "s2", "s3"]}
    file = tmp_path / "salina-salt/delta/var/lib/salina/members.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"app": ["s1", "s4"]}')
    assert inventory.active_members(topology) == {"app": ["s1", "s4"]}
    asked: list[list[str]] = []
    monkeypatch.setattr(inventory, "run", asked.append)
    monkeypatch.setattr(inventory.containers, "attach", lambda _, command: command)
    master = plan.make(topology, {}).master
    assert (inventory.forget_members(master, topology), asked) == ([], [])
    file.write_text('{"web": ["w1"]}')
    assert inventory.active_members(topology) == topology.initial()
    [fault] = inventory.forget_members(master, topology)
    assert "web: unknown pool; choose one of: app" in fault
    assert asked == [["rm", "--force", "/var/lib/salina/members.json"]]


def test_commits_that_the_mirror_does_not_have_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X10: A rebuilt mirror has other commits, which the master looks up then."""
    monkeypatch.setattr(inventory, "CONTAINERS", tmp_path)
    monkeypatch.setattr(inventory, "MIRROR", tmp_path)
    monkeypatch.setattr(inventory.containers, "attach", lambda _, command: ["echo", *command])
    ran: list[list[str]] = []

    def run(argv: list[str], **options: bool) -> object:
        ran.append(argv)
        return process.run(argv, **options)

    monkeypatch.setattr(inventory, "run", run)
    upstream = Upstream(tmp_path / "git/crm.git")
    topology = topology_file.parse(topology_file.choose(None, None)[0])
    master = plan.make(topology, {}).master
    file = tmp_path / "salina-salt/delta/var/lib/salina/revisions.json"

    def forgotten(repository: str, commit: str) -> bool:
        record = {"repository": repository, "revision": "main", "commit": commit}
        file.write_text(json.dumps({"crm": record}))
        ran.clear()
        inventory.forget_commits(master, topology)
        return ["echo", "rm", "--force", "/var/lib/salina/revisions.json"] in ran

    file.parent.mkdir(parents=True)
    mirrored = "file:///srv/mirror/git/crm.git"
    assert not forgotten(mirrored, upstream.first)
    assert not forgotten("https://git.example/crm.git", fleets.COMMIT)
    assert forgotten(mirrored, fleets.COMMIT)
    assert forgotten(mirrored, "damaged")
    elsewhere = "https://git.example/shop.git"
    copy = Upstream(tmp_path / "git" / repositories.name(elsewhere))
    assert not forgotten(elsewhere, copy.first)
    assert forgotten(elsewhere, fleets.COMMIT)


def test_topology_file_stays_the_same_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The master's bind mount shows the file, not its name."""
    monkeypatch.setattr(topology_file, "OVERRIDE", tmp_path / "override")
    monkeypatch.setattr(topology_file, "TOPOLOGY", tmp_path / "topology.yaml")
    topology_file.write("one", own=False)
    before = (tmp_path / "override/topology.yaml").stat().st_ino
    topology_file.write("two", own=False)
    assert (tmp_path / "override/topology.yaml").stat().st_ino == before
    assert topology_file.overridden()
    topology_file.write("three", own=True)
    assert not topology_file.overridden() and (tmp_path / "topology.yaml").read_text() == "three"


def test_digest_changes_with_names_and_contents(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.write_text("x")
    first = digest([one])
    assert digest([one]) == first
    one.write_text("y")
    assert digest([one]) != first


def test_keys_are_made_once_and_are_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "KEYS", tmp_path)
    made = keys.pair("minion-s1")
    assert keys.pair("minion-s1") == made
    assert (tmp_path / "minion-s1.pem").stat().st_mode & 0o777 == 0o600
    assert made.private.startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert made.public.startswith("-----BEGIN PUBLIC KEY-----")
    keys.forget("minion-s1")
    keys.forget("minion-s1")
    assert not list(tmp_path.iterdir())


def test_half_written_key_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KEYS", tmp_path)
    (tmp_path / "minion-s1.pem").write_text("half")
    assert "BEGIN" in keys.pair("minion-s1").private


def test_one_command_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.exclusive.LOCK", tmp_path / "lock")
    busy = pytest.raises(LabError, match=rf"bin/lab up \(process {os.getpid()}\)")
    with exclusive("up"), busy, exclusive("down"):
        pass
    with exclusive("down"):
        pass


def test_commands_fail_with_their_own_words() -> None:
    with pytest.raises(LabError, match=r"(?s)exit code 3 from: sh -c .*broken"):
        process.run(["sh", "-c", "echo broken >&2; exit 3"])
    assert process.run(["cat"], text="in").stdout == "in"
    with pytest.raises(LabError, match="did not end within"):
        process.run(["sleep", "5"], timeout=0.1)


def test_waits_are_bounded() -> None:
    assert process.wait_until(lambda: True, 0)
    assert not process.wait_until(lambda: False, 0.05, 0.01)


def test_noted_faults_are_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FAULTS", tmp_path / "faults.json")
    assert faults.read() == []
    noted = [
        faults.Fault(faults.Kind.FREEZE, "nas1"),
        faults.Fault(faults.Kind.SERVICE_KILL, "s1", "nginx"),
    ]
    faults.write(noted)
    assert faults.read() == noted
    faults.forget(["nas1"])
    assert faults.read() == noted[1:]
    faults.forget(["s1"])
    assert faults.read() == [] and not faults.FAULTS.exists()
    assert [str(fault) for fault in noted] == ["freeze nas1", "service-kill nginx s1"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "-f"])
def test_snapshot_names_stay_in_their_folder(name: str) -> None:
    assert not snapshots.NAME.fullmatch(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="entering a network namespace takes root")
def test_relay_passes_bytes_in_both_directions() -> None:
    async def scenario() -> bytes:
        async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.read()).upper())
            writer.close()

        far = await asyncio.start_server(shout, "127.0.0.1", 0)
        route = relay.Route(0, "127.0.0.1", far.sockets[0].getsockname()[1])

        async def near(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await relay.connect(reader, writer, route, lambda: Path("/proc/self/ns/net"))

        listening = await asyncio.start_server(near, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writer.write(b"hello")
        writer.write_eof()
        async with asyncio.timeout(5):
            return await reader.read()

    assert asyncio.run(scenario()) == b"HELLO"


def test_a_power_cut_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No packet of a host that dies tells the others so."""
    monkeypatch.setattr(faults, "FAULTS", tmp_path / "faults.json")
    done: list[str] = []
    monkeypatch.setattr(faults.network, "set_link", lambda pair, up: done.append(pair))
    monkeypatch.setattr(faults.containers, "stop", lambda machine, kill: done.append("kill"))
    card = Interface("eth0", "pair", "bridge", "10.1.4.21/24", "02:00:00:00:00:01")
    faults.inject(faults.Kind.KILL, [Machine("nas1", ("storage",), (card,))])
    assert done == ["pair", "kill"]
    assert [str(fault) for fault in faults.read()] == ["kill nas1"]


def test_hosts_are_made_together_or_changed_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S10: hosts are made in parallel, but not while a command changes all of them."""
    monkeypatch.setattr("lab.exclusive.HOSTS_LOCK", tmp_path / "lock")
    monkeypatch.setattr("lab.exclusive.HOSTS_SECONDS", 0.05)
    refused = pytest.raises(LabError, match=r"creating or removing hosts for 0\.05 s")
    with hosts_lock(shared=True), hosts_lock(shared=True), refused, hosts_lock():
        pass
    with hosts_lock(), refused, hosts_lock(shared=True):
        pass
    with hosts_lock():
        pass


@pytest.mark.parametrize("command", ["down", "rebuild s1", "fault stop s1", "exec s1", "salt"])
def test_a_command_needs_root(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    refused = CliRunner().invoke(cli.app, command.split())
    assert isinstance(refused.exception, LabError)
    assert str(refused.exception) == "the lab needs root"


@pytest.mark.parametrize("command", ["up", "down", "rebuild", "fault", "exec", "status"])
def test_help_needs_no_root(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    shown = CliRunner().invoke(cli.app, [command, "--help"])
    assert shown.exit_code == 0 and "Usage:" in shown.output
