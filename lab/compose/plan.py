"""The plan of a Compose file: its services, networks and volumes, derived from the topology.

The functions here only compute: a fleet and the lab's plan of its machines go in, the content of
the file comes out. Docker's own part is in the image (lab/compose/image.py).
"""

import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lab.compose import image
from lab.errors import LabError
from lab.machines import plan
from lab.machines.plan import Machine, Plan
from salina_fleet.fleet import Fleet
from salina_fleet.model.topology import Topology
from salina_fleet.pillar import STATE
from salina_fleet.platforms import PLATFORMS
from salina_fleet.roles import ROLES

GIVEN = "/srv/given.tar"
"""Where a container finds the files that its host has before its first start."""
REPOSITORY = "/srv/salina"
"""Where the master's container sees this repository."""

COMMON: Mapping[str, Any] = {
    "restart": "unless-stopped",
    "stop_signal": "SIGRTMIN+3",  # systemd stops its units
    "stop_grace_period": "90s",
    # systemd and GlusterFS mount file systems, a brick has attributes of root, and each host has
    # its own firewall and routes
    "cap_add": ["SYS_ADMIN", "NET_ADMIN", "NET_RAW", "SYS_PTRACE", "SYS_RESOURCE", "SYS_NICE"],
    "security_opt": ["apparmor:unconfined", "seccomp:unconfined"],
    "devices": ["/dev/fuse"],
    "tmpfs": ["/run", "/run/lock", "/tmp:exec"],
}
"""The part of every service."""

HEADER = """\
# The fleet of a Salina topology as a Docker Compose file. `make compose` writes it: do not edit.
#
#   docker compose up --build --detach
#   docker compose exec {master} salt-run secrets.create
#   docker compose exec {master} salt-run fleet.deploy
#   docker compose exec {client} curl --insecure {url}
#
# The directory hosts/ beside this file has the hosts' private keys, so keep it to yourself.
#
# `docker-compose config` accepts this file. Nobody has started it with Docker yet. Docker cannot do
# these things, which the lab (`make up`) does:
#
# - Its containers share the kernel of the machine. They load no modules, set no clock, and change
#   only the network's settings of the kernel. So the machine itself needs fuse, nf_tables and
#   overlay, and should run chrony.
# - If br_netfilter is loaded, packets between two containers pass the machine's own netfilter, and
#   Docker's rules there drop those that the firewall host forwards. Before the first start:
#   sysctl net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0
# - It takes one address of each network for the machine: here the last one that no host can have.
# - It mounts /etc/hosts and /etc/resolv.conf of each container, and writes them again whenever the
#   container starts. A unit of Salina then restores /etc/hosts.
# - The capability SYS_ADMIN, without AppArmor and seccomp, is almost root on the machine. Use a
#   machine that has no other work.
# - It has no provisioner, so `fleet.scale` cannot create hosts. To change a pool, change `initial`
#   in the topology, then run `make compose` again.
# - A host that is created again (`--force-recreate`) is a new host with the old data: apply its
#   states.
# - It has no mirror of packages. Each host fetches its own over the management network, which is
#   the only one with a way to the outside. The hosts' memory has no limit.
"""


def services(fleet: Fleet, wanted: Plan, repository: Path, own: bool) -> dict[str, Any]:
    """Return the services: a container for each host, and for each client.

    Args:
        fleet: The fleet.
        wanted: The lab's plan of the same fleet.
        repository: The directory of this repository.
        own: Whether the topology is the repository's own.
    """
    topology = fleet.topology
    names = {f"{one.domain}:{topology.service.address}" for one in topology.applications.values()}
    return {
        machine.name: {
            **built(machine),
            **COMMON,
            "hostname": machine.name,
            "environment": {"ROUTES": ",".join(routes(machine, topology))},
            **({} if machine.minion else {"extra_hosts": sorted(names)}),
            "networks": addresses(machine, topology),
            "volumes": [
                f"./hosts/{machine.name}.tar:{GIVEN}:ro",
                *(f"{repository}:{REPOSITORY}:ro" for _ in [machine] if machine.master),
                *(
                    f"./topology.yaml:{REPOSITORY}/pillar/topology.yaml:ro"
                    for _ in [machine]
                    if machine.master and not own
                ),
                *(f"{name}:{path}" for path, name in kept(machine, fleet).items()),
            ],
        }
        for machine in wanted.machines
    }


def built(machine: Machine) -> dict[str, Any]:
    """Return the image of a machine, and how Docker builds it."""
    platform = PLATFORMS[machine.platform]
    return {
        "build": {"context": "./image", "args": {"BASE": image.base(platform)}},
        "image": f"salina-host:{platform.name}",
    }


def routes(machine: Machine, topology: Topology) -> list[str]:
    """Return the routes of a machine: `10.1.1.0/24 via 10.1.2.1`.

    A client reaches everything through the firewall. A host reaches the clients through it, and the
    outside by Docker's own gateway.
    """
    clients = topology.networks[topology.links["clients"]].cidr
    target = clients if machine.minion else "default"
    return [
        f"{target} via {card.gateway}"
        for card in machine.interfaces
        if card.gateway and topology.links["clients"] != topology.links["edge"]
    ]


def addresses(machine: Machine, topology: Topology) -> dict[str, dict[str, str]]:
    """Return the networks of a machine, each with its address."""
    names = {plan.bridge(name): name for name in topology.networks}
    return {
        names[card.bridge]: {f"ipv{card.version}_address": card.address.partition("/")[0]}
        for card in machine.interfaces
    }


def kept(machine: Machine, fleet: Fleet) -> dict[str, str]:
    """Return the directories of a machine with data that outlives its container: path -> volume."""
    paths = [path for role in machine.roles for path in ROLES[role].directories(fleet)]
    paths += [STATE] if machine.master else []
    return {path: f"{machine.name}{path.replace('/', '-')}" for path in paths}


def gateway(name: str, cidr: str, taken: Iterable[str]) -> str:
    """Return the address in a network that Docker takes for the machine.

    Args:
        name: The network's name, for the error.
        cidr: The network's range.
        taken: The addresses that hosts and clients have, or may have.

    Raises:
        LabError: No address of the network is free.
    """
    network, used = ipaddress.ip_network(cidr), {ipaddress.ip_address(one) for one in taken}
    last = network.num_addresses - (2 if network.version == 4 else 1)
    for place in range(last, 0, -1):
        if network[place] not in used:
            return str(network[place])
    raise LabError(
        f"networks.{name}: no address of {cidr} is free, and Docker needs one for the machine",
        "choose a larger range in the topology, then: make compose",
    )


def networks(topology: Topology, wanted: Plan) -> dict[str, Any]:
    """Return the networks. Only that of management has a way to the outside."""
    taken = [address for host in topology.everyone() for address in host.addresses.values()]
    taken += [
        card.address.partition("/")[0] for machine in wanted.clients for card in machine.interfaces
    ]
    return {
        network.name: {
            "internal": network.name != topology.links["management"],
            **({"enable_ipv6": True} if ":" in network.cidr else {}),
            "ipam": {
                "config": [
                    {
                        "subnet": network.cidr,
                        "gateway": gateway(network.name, network.cidr, taken),
                    }
                ]
            },
        }
        for network in topology.networks.values()
    }


def make(fleet: Fleet, wanted: Plan, repository: Path, own: bool) -> dict[str, Any]:
    """Return the content of the file; the arguments are those of `services`.

    Raises:
        LabError: A network has no address for Docker.
    """
    volumes = [name for machine in wanted.minions for name in kept(machine, fleet).values()]
    return {
        "services": services(fleet, wanted, repository, own),
        "networks": networks(fleet.topology, wanted),
        "volumes": {name: {} for name in volumes},
    }


def render(fleet: Fleet, wanted: Plan, repository: Path, own: bool) -> str:
    """Return the text of the file; the arguments are those of `services`.

    Raises:
        LabError: A network has no address for Docker.
    """
    service, application = fleet.topology.service, fleet.topology.default
    header = HEADER.format(
        master=wanted.master.name,
        client=wanted.caller(service.address).name,
        url=fleet.topology.url(application),
    )
    content = make(fleet, wanted, repository, own)
    return header + yaml.dump(content, Dumper=_Plain, sort_keys=False)


class _Plain(yaml.SafeDumper):
    """A writer of YAML that writes a value again instead of a reference to it."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return that no value gets a name."""
        return True
