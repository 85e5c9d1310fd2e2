"""The same scenario as a Compose file: what `make compose` writes, and that Compose accepts it."""

from __future__ import annotations

import io
import ipaddress
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lab.compose import __main__ as command
from lab.compose import files, image, plan
from lab.errors import LabError
from lab.machines import keys
from lab.machines import plan as machines
from salina_fleet.model.topology import Topology
from tests import fleets

PLACE = Path("/place/of/salina")
EVERY = ["default", *fleets.OTHERS]


def wanted(found: Topology) -> machines.Plan:
    """Return the plan of the machines, with the initial members of each pool."""
    return machines.make(found, found.initial())


def made(name: str = "default", own: bool = True) -> dict[str, Any]:
    """Return the content of a topology's file."""
    fleet = fleets.fleet(name)
    return plan.make(fleet, wanted(fleet.topology), PLACE, own)


@pytest.mark.parametrize("name", EVERY)
def test_s17_every_host_is_a_container_with_its_addresses(name: str) -> None:
    """S17: Also each client; networks have the ranges of the topology."""
    found, fleet = made(name), fleets.fleet(name)
    clients = wanted(fleet.topology).clients
    assert list(found["services"]) == [*fleet.hosts, *(one.name for one in clients)]
    for host in fleet.hosts.values():
        service = found["services"][host.id]
        assert service["hostname"] == host.id
        given = {net: [*one.values()] for net, one in service["networks"].items()}
        assert given == {net: [address] for net, address in host.addresses.items()}
    ranges = {net: one["ipam"]["config"][0]["subnet"] for net, one in found["networks"].items()}
    assert ranges == {net: one.cidr for net, one in fleet.topology.networks.items()}


@pytest.mark.parametrize("name", EVERY)
def test_docker_takes_no_address_of_a_host(name: str) -> None:
    found, fleet = made(name), fleets.fleet(name)
    taken = {address for one in fleet.topology.everyone() for address in one.addresses.values()}
    for net in found["networks"].values():
        [one] = net["ipam"]["config"]
        assert one["gateway"] not in taken
        assert ipaddress.ip_address(one["gateway"]) in ipaddress.ip_network(one["subnet"])
    clients = [one for name, one in found["services"].items() if name not in fleet.hosts]
    cards = [card for one in clients for card in one["networks"].values()]
    used = {address for card in cards for address in card.values()}
    gateways = {one["ipam"]["config"][0]["gateway"] for one in found["networks"].values()}
    assert not used & gateways


def test_a_full_network_is_refused() -> None:
    """Docker has an address in each network, so one must be free."""
    assert plan.gateway("a", "10.0.0.0/29", ["10.0.0.6", "10.0.0.5"]) == "10.0.0.4"
    assert plan.gateway("a", "fd00::/126", ["fd00::3"]) == "fd00::2"
    with pytest.raises(LabError, match=r"^networks\.a: no address of 10\.0\.0\.0/30 is free"):
        plan.gateway("a", "10.0.0.0/30", ["10.0.0.1", "10.0.0.2"])


def test_only_the_management_network_leads_outside() -> None:
    """Clients reach the fleet through the firewall host, and nothing else."""
    found = made()
    outside = [net for net, one in found["networks"].items() if not one["internal"]]
    assert outside == ["management"]
    routes = {name: one["environment"]["ROUTES"] for name, one in found["services"].items()}
    assert {name: route for name, route in routes.items() if route} == {
        "c1": "default via 10.1.1.1",
        "c2": "default via 10.1.1.1",
        "lb1": "10.1.1.0/24 via 10.1.2.1",
        "nagios": "10.1.1.0/24 via 10.1.2.1",
        "ges": "10.1.1.0/24 via 10.1.2.1",
    }
    one = made("one-host")
    assert not any(service["environment"]["ROUTES"] for service in one["services"].values())


def test_data_outlives_a_container() -> None:
    """Each directory with data is a volume of its own, which the file declares."""
    found = made("two-applications")
    mounted = {
        name: [line for line in one["volumes"] if not line.startswith((".", "/"))]
        for name, one in found["services"].items()
    }
    assert mounted["nas1"] == [
        "nas1-nas:/nas",
        "nas1-nas-shop:/nas-shop",
        "nas1-var-lib-glusterd:/var/lib/glusterd",
        "nas1-var-lib-etcd:/var/lib/etcd",
    ]
    assert mounted["bbdd1"] == ["bbdd1-var-lib-postgresql:/var/lib/postgresql"]
    assert mounted["salt"] == ["salt-var-lib-salina:/var/lib/salina"]
    assert len(mounted["bkp1"]) == 3 and not mounted["s1"] and not mounted["c1"]
    names = [line.partition(":")[0] for lines in mounted.values() for line in lines]
    assert sorted(names) == sorted(found["volumes"]) and len(names) == len({*names})


def test_the_master_sees_the_repository_and_the_topology() -> None:
    """The same tree configures the hosts; another topology hides the repository's own."""
    own = [line for line in made()["services"]["salt"]["volumes"] if "/srv/salina" in line]
    assert own == [f"{PLACE}:/srv/salina:ro"]
    other = made(own=False)["services"]
    over = "./topology.yaml:/srv/salina/pillar/topology.yaml:ro"
    assert [name for name, one in other.items() if over in one["volumes"]] == ["salt"]


def test_the_file_is_plain_yaml() -> None:
    """Without references, and with the commands and the limits in its first lines."""
    fleet = fleets.fleet()
    text = plan.render(fleet, wanted(fleet.topology), PLACE, True)
    assert yaml.safe_load(text) == made()
    assert "&id" not in text
    header = [line for line in text.splitlines() if line.startswith("#")]
    for word in ("netfilter", "chrony", "modules", "fleet.deploy", "curl", "provisioner"):
        assert any(word in line for line in header), word
    assert max(map(len, header)) <= 110


def test_the_images_files_are_complete() -> None:
    """Whatever the Dockerfile copies is beside it, and Salt comes from its lock with hashes."""
    found = image.files()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", found["Dockerfile"], re.MULTILINE)
    for name in " ".join(copied).split():
        assert any(path == name or path.startswith(name) for path in found), name
    assert "--require-hashes" in found["Dockerfile"]
    assert all(text.strip() for text in found.values())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that cost nothing."""
    numbers = iter(range(1000))
    pem = "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n"

    def generate() -> keys.Pair:
        number = next(numbers)
        return keys.Pair(pem.format(number), f"public {number}")

    monkeypatch.setattr(keys, "generate", generate)


def unpacked(file: Path) -> dict[str, tuple[int, str]]:
    """Return the files of an archive: path -> mode, and content or target."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(file.read_bytes())) as tar:
        for one in tar:
            content = tar.extractfile(one) if one.isfile() else None
            found[one.name] = (one.mode, content.read().decode() if content else one.linkname)
    return found


@pytest.mark.usefixtures("quick")
def test_only_the_owner_reads_the_keys(tmp_path: Path) -> None:
    """A host's files have its own key and no other; the master accepts all of them."""
    place = tmp_path / "compose"
    machine_plan = wanted(fleets.topology())
    files.write(place, "services: {}\n", None, machine_plan)
    assert place.stat().st_mode & 0o777 == 0o700
    archives = {file.stem: unpacked(file) for file in (place / "hosts").iterdir()}
    assert sorted(archives) == sorted(one.name for one in machine_plan.machines)
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in (place / "hosts").iterdir())
    for name, found in archives.items():
        private = {path: one for path, one in found.items() if "PRIVATE KEY" in one[1]}
        own = {"etc/salt/pki/minion/minion.pem"} if name not in ("c1", "c2") else set()
        own |= {"etc/salt/pki/master/master.pem"} if name == "salt" else set()
        assert set(private) == own, name
        assert all(mode == 0o400 for mode, _ in private.values())
        assert "etc/hosts" not in found
    accepted = {
        path.rpartition("/")[2]: text
        for path, (_, text) in archives["salt"].items()
        if path.startswith("etc/salt/pki/master/minions/")
    }
    assert accepted == {
        name: found["etc/salt/pki/minion/minion.pub"][1]
        for name, found in archives.items()
        if name not in ("c1", "c2")
    }
    before = (place / "hosts/s1.tar").read_bytes()
    assert "lab.conf" not in " ".join(archives["salt"])
    files.write(place, "services: {}\n", "hosts: {}\n", machine_plan)
    assert (place / "topology.yaml").read_text() == "hosts: {}\n"
    assert unpacked(place / "hosts/s1.tar").keys() == archives["s1"].keys()
    assert (place / "hosts/s1.tar").read_bytes()[512:] == before[512:]  # the key stays


@pytest.mark.usefixtures("quick")
def test_the_command_writes_a_file_for_any_topology(tmp_path: Path) -> None:
    """S17: And it says what is wrong with a file."""
    runner, app = CliRunner(), command.typer.Typer()
    app.command()(command.main)
    place = str(tmp_path / "compose")
    given = ["--directory", place, "--topology", str(fleets.OTHERS["ipv6"]), "--app", "crm-2017"]
    done = runner.invoke(app, given)
    assert (done.exit_code, "note:" in done.output) == (0, False), done.output
    assert (tmp_path / "compose/topology.yaml").exists()
    done = runner.invoke(app, ["--directory", place])
    assert done.exit_code == 0 and "choose another one" in done.output
    bad = tmp_path / "bad.yaml"
    bad.write_text("hosts: 1\n")
    done = runner.invoke(app, ["--topology", str(bad), "--directory", place])
    assert done.exit_code == 1 and "hosts: 1 is not valid" in done.output + (done.stderr or "")


@pytest.fixture(scope="module")
def docker_compose() -> Iterator[str]:
    """Debian's Compose, which needs no Docker to judge a file."""
    if not shutil.which("docker-compose"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        # another test may be installing something
        argv = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-qq", "-y"]
        argv += ["--no-install-recommends", "docker-compose"]
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=environment)
    yield "docker-compose"


@pytest.mark.programs
@pytest.mark.parametrize("name", EVERY)
def test_s17_compose_accepts_the_file(docker_compose: str, name: str, tmp_path: Path) -> None:
    """S17: `docker-compose config` reads it, and means the same."""
    fleet = fleets.fleet(name)
    text = plan.render(fleet, wanted(fleet.topology), PLACE, False)
    (tmp_path / "docker-compose.yaml").write_text(text)
    (tmp_path / "image").mkdir()
    done = subprocess.run(
        [docker_compose, "config"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found, meant = yaml.safe_load(done.stdout), made(name, own=False)
    assert set(found["services"]) == set(meant["services"])
    for service, one in meant["services"].items():
        assert found["services"][service]["networks"] == one["networks"]
    assert set(found["volumes"]) == set(meant["volumes"])
