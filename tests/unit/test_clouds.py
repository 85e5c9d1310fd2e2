"""A fleet in a cloud: networks, rules and ports for OpenTofu, and the commands for its hosts (S16).

No test reaches a cloud. The arguments of every resource are compared with those of the provider
(tests/unit/data/tofu, which tools/providers.py writes), and the commands are run with programs that
stand in for the clouds' own.
"""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salina_fleet import policy, runner
from salina_fleet.errors import RunnerError
from salina_fleet.fleet import Fleet
from salina_fleet.model.firewall import FirewallSettings, OperatorRule
from salina_fleet.provision import clouds, servers
from salina_fleet.provision.clouds import CLOUDS, plan
from salina_fleet.provision.clouds.__main__ import main as command
from salina_fleet.provision.clouds.plan import ANYWHERE, EVERY, Plan
from tests import fleets
from tests.loading import load
from tools import providers

FLEET = providers.example()
USER_DATA = "#cloud-config\ncanary\n"


# The rules are those of the table


def accepts(made: Plan, source: str, target: str) -> set[tuple[str, str, int, int]]:
    """Return what a host accepts from another one, or from outside: address, protocol, ports."""
    found = set()
    mine = () if source == "outside" else made.machines[source].ports
    for port in made.machines[target].ports:
        here = [one for one in mine if one.network == port.network]
        for name in port.groups:
            for rule in made.groups[name].rules:
                if rule.ranged:
                    inside = ipaddress.ip_network(rule.source)
                    hit = (
                        rule.source == ANYWHERE
                        if not here
                        else any(ipaddress.ip_address(one.address) in inside for one in here)
                    )
                else:
                    hit = any(rule.source in one.groups for one in here)
                if hit and rule.first is not None and (here or source == "outside"):
                    assert rule.last is not None
                    found.add((port.address, rule.proto, rule.first, rule.last))
    return found


def table(fleet: Fleet, source: str, target: str) -> set[tuple[str, str, int, int]]:
    """Return the same of the table of who may talk to whom."""
    found = set()
    for opening in policy.allowed(fleet, source, target):
        for part in opening.ports.split(","):
            first, _, last = part.partition(":")
            found.add((opening.address, opening.proto, int(first), int(last or first)))
    return found


def with_rules(fleet: Fleet) -> Fleet:
    """The fleet with rules that an operator has added: for a role, a host, and every host."""
    added = (
        OperatorRule(network="back", ports="9100", comment="a", role="app"),
        OperatorRule(network="back", ports="9200:9210", comment="b", host="bkp1"),
        OperatorRule(network="back", ports="9300", comment="c", source="10.1.2.12"),
    )
    own = replace(fleet.settings[FirewallSettings], added=added)
    return Fleet(fleet.topology, fleet.members, fleet.settings.but(own))


@pytest.mark.parametrize("fleet", [FLEET, with_rules(FLEET)], ids=["example", "with more rules"])
def test_s7_s16_a_cloud_opens_what_the_table_says(fleet: Fleet) -> None:
    """S7, S16: From every host to every other one, and from outside; no more and no less."""
    made = plan.make(fleet)
    for target in fleet.hosts:
        for source in fleet.hosts:
            if source != target:
                expected = table(fleet, source, target)
                assert accepts(made, source, target) == expected, (source, target)
        assert accepts(made, "outside", target) == table(fleet, "clients", target), target


def test_s16_a_member_that_is_not_there_yet_has_its_ports() -> None:
    """S10, S16: A change of a pool changes nothing that OpenTofu made."""
    made = plan.make(FLEET)
    assert {f"s{n}" for n in range(1, 11)} <= {*made.machines}
    assert made.machines["s10"].ports[0].groups == (f"{EVERY}-back", "app-back")


def test_s16_the_way_to_the_outside_leads_through_the_first_port() -> None:
    """S16: That of the balancer is the public one, that of every other host is management's."""
    made = plan.make(FLEET)
    first = {machine.id: machine.ports[0].network for machine in made.machines.values()}
    assert first.pop("lb1") == "front" and {*first.values()} == {"back"}
    assert made.service == ("lb1", "front") and made.outside == ("front", "back")
    assert {role: len(ids) for role, ids in made.apart.items()} == {
        "storage": 3,
        "database": 2,
        "app": 10,
    }


def test_s16_pings_reach_the_service_from_outside_and_hosts_from_their_network() -> None:
    """S7, S16: As the hosts' own firewalls have it."""
    made = plan.make(FLEET)
    pings = {
        name: [rule.source for rule in group.rules if rule.proto == "icmp"]
        for name, group in made.groups.items()
    }
    assert {name: found for name, found in pings.items() if found} == {
        "every-front": ["10.1.1.0/24"],
        "every-back": ["10.1.2.0/24"],
        "balancer-front": [ANYWHERE],
    }


# OpenTofu's files


def kept(cloud: str) -> Mapping[str, Any]:
    """Return the arguments of a provider's resources."""
    found = json.loads((providers.KEPT / f"{cloud}.json").read_text())["arguments"]
    assert isinstance(found, dict)
    return found


def misfits(value: Any, kind: Any, where: str) -> Iterator[str]:
    """Yield where a value is not of an argument's type. A text with ${…} may be of any."""
    if isinstance(value, str) and value.startswith("${"):
        return
    if isinstance(kind, dict):
        for one in value if isinstance(value, list) else [value]:
            yield from fits(one, kind, where)
    elif isinstance(kind, list):
        expected = {"list": list, "map": dict}[kind[0]]
        if not isinstance(value, expected) and not isinstance(kind[1], dict):
            yield f"{where}: {value!r} is not a {kind[0]}"
            return
        inner = value.values() if isinstance(value, dict) and kind[0] == "map" else value
        for one in inner if not isinstance(inner, dict) else [inner]:
            yield from misfits(one, kind[1], where)
    else:
        expected = {"string": str, "number": int, "boolean": bool, "any": object}[kind]
        if not isinstance(value, expected):
            yield f"{where}: {value!r} is not a {kind}"


def fits(given: Mapping[str, Any], known: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield the arguments that are unknown, missing, or of another type."""
    for name, value in given.items():
        if name == "depends_on":
            continue
        if name not in known:
            yield f"{where}.{name}: the provider has no such argument"
        else:
            yield from misfits(value, known[name]["type"], f"{where}.{name}")
    for name, one in known.items():
        if one["required"] and name not in given:
            yield f"{where}.{name}: is missing"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_s16_the_providers_know_every_argument(cloud: str) -> None:
    """S16: All resources have the arguments that their provider requires, and no others."""
    content, known = clouds.tofu(cloud, FLEET), kept(cloud)
    for prefix, part in ("", "resource"), ("data.", "data"):
        for kind, found in content.get(part, {}).items():
            for name, given in found.items():
                assert list(fits(given, known[f"{prefix}{kind}"], f"{kind}.{name}")) == []
    assert {*known} == {*providers.used(cloud)}, "run tools/providers.py again"


def test_the_comparison_finds_wrong_arguments() -> None:
    """An unknown one, a missing one, and one of another type, also inside another one."""
    known = kept("openstack")["openstack_networking_port_v2"]
    wrong = {"names": "x", "fixed_ip": [{"ip_address": 1}], "security_group_ids": "x"}
    assert [*fits(wrong, known, "port")] == [
        "port.names: the provider has no such argument",
        "port.fixed_ip.ip_address: 1 is not a string",
        "port.security_group_ids: 'x' is not a list",
        "port.network_id: is missing",
    ]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_s16_every_reference_leads_to_something(cloud: str) -> None:
    """S16: Each ${…} names a variable or a resource of the file, and every variable is used."""
    content = clouds.tofu(cloud, FLEET)
    text = json.dumps(content)
    for data, kind, name in re.findall(r"\$\{(data\.)?(\w+)\.([\w-]+)\.\w+\}", text):
        assert name in content["data" if data else "resource"][kind], f"{kind}.{name}"
    for name in re.findall(r"var\.(\w+)", text):
        assert name in content["variable"]
    for name in content["variable"]:
        assert f"var.{name}" in text
    for found in content["resource"].values():
        assert all(re.fullmatch(r"[A-Za-z_][\w-]*", name) for name in found)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_k4_s16_the_file_has_no_secret_and_no_host(cloud: str) -> None:
    """S16, K4: OpenTofu keeps what it makes in its state, so it makes nothing with user data."""
    text = json.dumps(clouds.tofu(cloud, FLEET))
    assert "user_data" not in text and "canary" not in text
    assert not re.search(
        r'"(aws_instance|google_compute_instance|openstack_compute_instance)', text
    )


FAULTS = {
    "default": ("openstack", "hosts.fw.roles: a cloud's public address leads to one host"),
    "pairs": ("google", "hosts.lb2.roles: a cloud's network does not follow the address 10.1.2.2"),
    "ipv6": ("google", "is not an IPv4 network"),
    "plain": ("aws", "hosts.lb1.addresses.edge: 10.1.2.2 belongs to AWS itself"),
}


@pytest.mark.parametrize(("name", "cloud", "fault"), [(n, *f) for n, f in FAULTS.items()])
def test_k5_a_fleet_that_cannot_be_in_a_cloud(name: str, cloud: str, fault: str) -> None:
    """S16, K5: The fault names the place and the remedy."""
    found = clouds.faults(cloud, fleets.fleet(name))
    assert any(fault in one for one in found), found


def test_s16_aws_needs_a_way_to_the_outside_for_hosts_without_an_address() -> None:
    """S16: And it takes a few security groups only."""
    found = "\n".join(clouds.faults("aws", fleets.fleet("one-host")))
    assert "links.management: is the network of the service's address" in found
    assert "AWS takes 5; give the roles to several hosts" in found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_s16_the_example_can_be_in_every_cloud(cloud: str) -> None:
    """S16: docs/cloud-topology.yaml."""
    assert clouds.faults(cloud, FLEET) == []


def tree(place: Path, topology: Path) -> Path:
    """Return a folder with the files of pillar/ that the command reads."""
    (place / "pillar").mkdir()
    (place / "pillar/settings").symlink_to(fleets.REPOSITORY / "pillar/settings")
    (place / "pillar/topology.yaml").symlink_to(topology)
    return place


def test_s16_the_networks_need_no_master(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """S16: The master is in them, so a clone of the repository is enough."""
    assert command(["google"], tree(tmp_path, providers.EXAMPLE)) == 0
    assert json.loads(capsys.readouterr().out) == clouds.tofu("google", FLEET)


def test_k5_s16_a_topology_that_cannot_be_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """S16, K5: Nothing is printed that OpenTofu would take."""
    assert command(["openstack"], tree(tmp_path, fleets.DEFAULT)) == 1
    said = capsys.readouterr()
    assert said.out == "" and "hosts.fw.roles: " in said.err
    assert command(["azure"], tmp_path) == 2
    assert "choose one of: aws, google, openstack" in capsys.readouterr().err


@pytest.fixture
def cloud_runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The runner on a master with the fleet of docs/cloud-topology.yaml."""
    monkeypatch.setattr(runner, "site", lambda _: SimpleNamespace(fleet=FLEET))
    yield load("_runners/cloud.py", opts={})


def test_s16_the_master_writes_the_same(cloud_runner: Any, tmp_path: Path) -> None:
    """S16: After a change of the topology; the next command is in the answer."""
    file = tmp_path / "fleet.tf.json"
    assert "next, in its directory: tofu init" in cloud_runner.tofu("aws", str(file))
    assert json.loads(file.read_text()) == clouds.tofu("aws", FLEET)
    assert cloud_runner.check("google") == "the fleet can be in google: 12 hosts"


def test_k5_s16_what_the_runner_refuses(
    cloud_runner: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S16, K5: An unknown cloud, a file that OpenTofu would not read, and a fleet with faults."""
    with pytest.raises(RunnerError, match="choose one of: aws, google, openstack"):
        cloud_runner.check("azure")
    with pytest.raises(RunnerError, match=r"must end with \.tf\.json"):
        cloud_runner.tofu("aws", str(tmp_path / "fleet.json"))
    monkeypatch.setattr(runner, "site", lambda _: SimpleNamespace(fleet=fleets.fleet()))
    with pytest.raises(RunnerError, match=r"cannot be in aws:\nhosts\.fw\.roles: "):
        cloud_runner.check("aws")


# The provisioner


def resolved(value: Any) -> Any:
    """Return a part of the output `fleet` with a text in place of each expression."""
    if isinstance(value, dict):
        return {key: resolved(one) for key, one in value.items()}
    if isinstance(value, list):
        return [resolved(one) for one in value]
    if value == "${var.disk}":
        return 30
    return re.sub(r"\$\{.*?\}", "x", value) if isinstance(value, str) else value


class Made:
    """A provisioner whose cloud is a script: it notes each command, and one host exists there."""

    programs = ("openstack", "aws", "gcloud")

    def __init__(self, cloud: str, place: Path) -> None:
        self.record, self.log = place / "cloud.json", place / "log"
        fleet = resolved(clouds.tofu(cloud, FLEET)["output"]["fleet"]["value"])
        self.record.write_text(json.dumps({"fleet": {"value": fleet}}))
        self.exists = place / "exists"
        script = (
            f'#!/bin/sh\necho "$0 $*" | sed "s,^.*/,," >> {self.log}\n'
            f'case "$*" in\n'
            f'*run-instances*|*" create "*) cat >> {place}/given; touch {self.exists};;\n'
            f'*terminate*|*" delete "*) rm -f {self.exists};;\n'
            f'*describe-instances*|*" list "*) [ ! -e {self.exists} ] || echo i-1;;\n'
            "esac\n"
        )
        for name in self.programs:
            (place / name).write_text(script)
            (place / name).chmod(0o755)
        self.place = place

    def run(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run the program, which reads the record of the test."""
        code = (
            f"import sys; sys.path.insert(0, {str(fleets.REPOSITORY / 'fleet')!r});"
            "from salina_fleet.provision import servers;"
            f"sys.exit(servers.main({list(arguments)!r}, {str(self.record)!r}))"
        )
        return subprocess.run(
            ["/usr/bin/python3", "-IBc", code],
            input=given,
            capture_output=True,
            text=True,
            env={"PATH": f"{self.place}:/usr/bin:/bin"},
        )

    def commands(self) -> list[str]:
        """Return the commands so far, and forget them."""
        found = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_s10_s16_a_host_is_made_replaced_and_removed(cloud: str, tmp_path: Path) -> None:
    """S10, S16: A repeated call succeeds; a host that exists gets the new key by being replaced."""
    made = Made(cloud, tmp_path)
    done = made.run("create", "s4", given=USER_DATA)
    assert (done.returncode, done.stdout) == (0, "s4: created\n"), done.stderr
    assert (tmp_path / "given").read_text() == USER_DATA
    assert len(made.commands()) == 2
    assert made.run("create", "s4", given=USER_DATA).returncode == 0
    assert len(made.commands()) == {"aws": 4}.get(cloud, 3)
    for words in ("s4: removed\n", "s4: does not exist\n"):
        done = made.run("destroy", "s4")
        assert (done.returncode, done.stdout) == (0, words), done.stderr


@pytest.mark.parametrize("cloud", CLOUDS)
def test_k4_s16_the_user_data_is_on_no_command_line(cloud: str, tmp_path: Path) -> None:
    """S16, K4: It goes to the cloud's program on standard input, and into no message."""
    made = Made(cloud, tmp_path)
    assert made.run("create", "s4", given=USER_DATA).returncode == 0
    assert "canary" not in "".join(made.commands())
    for name in made.programs:
        (tmp_path / name).write_text("#!/bin/sh\necho no quota >&2\nexit 3\n")
    done = made.run("create", "s4", given=USER_DATA)
    assert done.returncode == 1 and "ended with exit code 3: no quota" in done.stderr
    assert "canary" not in done.stderr + done.stdout


def test_k5_s16_requests_that_cannot_work(tmp_path: Path) -> None:
    """S16, K5: Each message names the next command."""
    made = Made("openstack", tmp_path)
    assert made.run("create").returncode == 2
    done = made.run("destroy", "s11")
    assert done.returncode == 1 and "next: salt-run cloud.tofu" in done.stderr
    made.record.write_text("{}")
    assert "is not the output of a fleet" in made.run("destroy", "s1").stderr
    made.record.unlink()
    assert "next: tofu output -json > " in made.run("destroy", "s1").stderr


def test_s16_the_program_needs_nothing_but_python() -> None:
    """S16: The master's system Python runs it, as it runs the lab's provisioner."""
    done = subprocess.run(
        [fleets.REPOSITORY / "bin/cloud"], capture_output=True, text=True, env={"PATH": "/usr/bin"}
    )
    assert (done.returncode, done.stderr.strip()) == (2, servers.USAGE)


KNOWN = json.loads((fleets.REPOSITORY / "tests/unit/data/commands.json").read_text())
"""The options of the clouds' programs (tools/commands.py)."""
OF_AWS = {"--region", "--query", "--output"}
"""The options of every command of `aws`."""


def every(cloud: str) -> Iterator[list[str]]:
    """Yield all commands for all hosts."""
    commands = servers.CLOUDS[cloud]
    for host in resolved(clouds.tofu(cloud, FLEET)["output"]["fleet"]["value"])["hosts"].values():
        yield commands.find(host)
        yield commands.create(host)
        yield from commands.destroy(host, ["a", "b"])


def test_s16_openstack_knows_every_option() -> None:
    """S16: Of `openstack server`."""
    for argv in every("openstack"):
        assert argv[:3] == ["openstack", "--os-cloud", servers.PROFILE]
        assert argv[3:6] == ["--os-compute-api-version", servers.TAGGED, "server"]
        options = {one for one in argv[7:] if one.startswith("--")}
        assert options <= {*KNOWN["openstack"][argv[6]]}, argv


@pytest.mark.parametrize("cloud", CLOUDS)
def test_s10_s16_the_host_of_another_fleet_is_never_removed(cloud: str) -> None:
    """S10, S16: Two fleets of a project may have hosts of one name. Each finds its own only.

    The mark is a network of the fleet, or on Google Cloud the name, which nobody else has there.
    """
    commands = servers.CLOUDS[cloud]
    value = clouds.tofu(cloud, FLEET)["output"]["fleet"]["value"]
    marks = {
        "aws": "${aws_vpc.fleet.id}",
        "google": "${var.fleet}",
        "openstack": "${openstack_networking_router_v2.fleet.id}",
    }
    for host in value["hosts"].values():
        assert host["fleet"] == marks[cloud]
        own = {**resolved(host), "fleet": "the-mark"}
        for argv in (commands.find(own), commands.create(own)):
            assert "the-mark" in " ".join(argv), argv


def keys_of(value: str) -> Iterator[str]:
    """Yield the keys of an option's value: JSON, or `Key=value,Key=value`."""

    def inside(found: Any) -> Iterator[str]:
        if isinstance(found, list):
            for one in found:
                yield from inside(one)
        elif isinstance(found, dict):
            for key, one in found.items():
                yield key
                yield from inside(one)

    if value.startswith("["):
        yield from inside(json.loads(value))
    else:
        yield from re.findall(r"(?:^|,)(\w+)=", value)


def names_in(members: Mapping[str, Any]) -> set[str]:
    """Return the names of members, and of theirs."""
    return {*members, *(name for inner in members.values() for name in names_in(inner))}


def test_s16_aws_knows_every_option_and_key() -> None:
    """S16: Of `aws ec2`, with the keys of their values."""
    for argv in every("aws"):
        assert argv[:2] == ["aws", "--region"] and argv[3] == "ec2"
        if argv[4] == "wait":
            continue
        known = KNOWN["aws"][argv[4]]
        for option, value in pairwise(argv[5:]):
            if option.startswith("--") and option not in OF_AWS:
                assert {*keys_of(value)} <= names_in(known[option]), (option, value)


def test_s16_only_a_token_opens_the_metadata_of_aws() -> None:
    """S16, K4: Otherwise a request that an application forwards could read the minion's key."""
    host = resolved(clouds.tofu("aws", FLEET)["output"]["fleet"]["value"])["hosts"]["s1"]
    argv = servers.AWS.create(host)
    options = argv[argv.index("--metadata-options") + 1]
    assert options == "HttpTokens=required,HttpPutResponseHopLimit=1"
