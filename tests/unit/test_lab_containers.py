"""The files of a container: its configuration, its first files, its network."""

import io
import tarfile
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.machines import containers, network, provision
from lab.machines.keys import Pair
from lab.machines.plan import Interface, Machine

CARD = Interface("eth0", "nas1.0", "br-data", "10.1.4.21/24", "02:00:00:00:00:01", "10.1.4.1")
NAS = Machine("nas1", ("storage",), (CARD,), "10.1.5.21")
SALT = Machine("salt", ("master",), (), "10.1.5.2")
LAYERS = containers.Layers(Path("/image/rootfs"), Path("/delta"))
KEYS = Pair("private", "public")


def settings(machine: Machine) -> list[str]:
    return containers.configuration(machine, LAYERS).splitlines()


def test_configuration_names_host_image_and_card() -> None:
    lines = settings(NAS)
    assert "lxc.uts.name = nas1" in lines
    assert "lxc.rootfs.path = overlayfs:/image/rootfs:/delta" in lines
    assert "lxc.net.0.veth.pair = nas1.0" in lines
    assert "lxc.net.0.ipv4.address = 10.1.4.21/24" in lines
    assert "lxc.net.0.ipv4.gateway = 10.1.4.1" in lines


def test_kernel_settings_of_the_machine_are_out_of_reach() -> None:
    assert "lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed" in settings(NAS)


def test_no_gateway_no_line() -> None:
    card = Interface("eth0", "a.0", "br-a", "fd00::1/64", "02:00:00:00:00:01")
    text = containers.card(0, card)
    assert "gateway" not in text
    assert "lxc.net.0.ipv6.address = fd00::1/64" in text


def test_only_the_master_sees_the_repository_and_all_is_read_only() -> None:
    def mounts(machine: Machine) -> list[str]:
        return [line for line in settings(machine) if "bind" in line and "/dev/fuse" not in line]

    assert not any("srv/salina" in line for line in mounts(NAS))
    assert any(" srv/salina none" in line for line in mounts(SALT))
    assert all("bind,ro," in line for line in mounts(NAS) + mounts(SALT))


def test_image_is_read_back_from_the_configuration() -> None:
    text = containers.configuration(NAS, LAYERS)
    assert containers.base_of(text, "salina-s1") == Path("/image/rootfs")
    with pytest.raises(LabError, match="damaged"):
        containers.base_of("", "salina-s1")


def test_only_the_master_reaches_the_cloud() -> None:
    """S10: where hosts can be made and removed."""
    assert any(" srv/lab none" in line for line in settings(SALT))
    assert not any(" srv/lab none" in line for line in settings(NAS))


def test_master_has_the_repository_configuration_as_links_only() -> None:
    files = provision.master(KEYS, ["master.d/00-roots.conf", "lab/master.conf"])
    links = {path: file.link for path, file in files.items() if "/master.d/" in path}
    assert links == {
        "etc/salt/master.d/00-roots.conf": "/srv/salina/master.d/00-roots.conf",
        "etc/salt/master.d/master.conf": "/srv/salina/lab/master.conf",
    }


def test_accepted_keys_are_filed_by_id() -> None:
    assert list(provision.accepted({"s1": KEYS})) == ["etc/salt/pki/master/minions/s1"]


def test_hosts_file_of_a_client() -> None:
    files = provision.system(Machine("c1", (), ()), {"crm.example": "10.1.2.2"})
    assert "10.1.2.2 crm.example" in files["etc/hosts"].content.splitlines()
    assert files["etc/hostname"].content == "c1\n"


def test_archive_keeps_modes_and_links() -> None:
    files = {"a": provision.File("x", 0o400), "b": provision.File(link="/a")}
    with tarfile.open(fileobj=io.BytesIO(provision.archive(files))) as tar:
        assert tar.getmember("a").mode == 0o400
        assert tar.getmember("b").linkname == "/a"
        assert {tar.getmember(name).uid for name in ("a", "b")} == {0}


def test_bridges_are_brought_to_the_plan() -> None:
    lines = network.links(["br-a", "br-b"], ["br-b", "br-old"])
    assert lines == [
        "link delete br-old",
        "link add br-a type bridge",
        "link set br-a up",
        "link set br-b up",
    ]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/bin/bash", "/work/lab/holder", network.MARK], True),
        (["unshare", "--net", "/work/lab/holder", network.MARK], False),
        (["vi", "lab/holder"], False),
        ([], False),
    ],
)
def test_holder_is_known_by_its_command_line(argv: list[str], expected: bool) -> None:
    assert network.is_holder(argv) is expected


def test_commands_run_in_all_of_the_labs_namespaces() -> None:
    argv = network.inside(["ip", "link"], 42)
    assert argv == ["nsenter", "--target", "42", "--net", "--mount", "--pid", "--", "ip", "link"]


@pytest.mark.parametrize(
    ("files", "slow", "quick"),
    [
        (
            ["cpu.cfs_period_us", "cpu.cfs_quota_us"],
            ["5000", "1000"],
            ["100000", "-1"],
        ),
        (["cpu.max"], ["1000 5000"], ["max 100000"]),
    ],
)
def test_a_slow_host_has_a_fifth_of_a_core(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[str],
    slow: list[str],
    quick: list[str],
) -> None:
    """In control groups of both versions."""
    asked: list[str] = []
    monkeypatch.setattr(containers, "groups", lambda name: asked.append(name) or [tmp_path])
    with pytest.raises(LabError, match=r"nas1 cannot be slowed: .* no CPU quota"):
        containers.throttle(NAS, on=True)
    containers.throttle(NAS, on=False)  # then there is nothing to undo
    for file in files:
        (tmp_path / file).touch()
    containers.throttle(NAS, on=True)
    assert [(tmp_path / file).read_text() for file in files] == slow
    containers.throttle(NAS, on=False)
    assert [(tmp_path / file).read_text() for file in files] == quick
    assert set(asked) == {"lxc.payload.salina-nas1"}
