"""Make and remove hosts in a cloud with the cloud's own command line, as the master's provisioner.

`bin/cloud` runs this with the system's Python: it imports neither Salt nor other modules. The
networks, rules and ports exist already (`salina_fleet.provision.clouds`). Their ids come from a
file that OpenTofu's output is written into.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

RECORD = "/etc/salina/cloud.json"
"""The output of `tofu output -json`."""
PROFILE = "salina"
"""The entry of clouds.yaml, with which `openstack` logs in."""
TAGGED = "2.52"
"""The first version of Nova's interface in which a new server has tags (2017)."""
STANDARD_INPUT = "/dev/stdin"
USAGE = "usage: cloud create ID < USER-DATA | cloud destroy ID"

Host = Mapping[str, Any]
"""A host in the output `fleet`: its name in the cloud, its image, size and ports, and its `fleet`.

Another fleet in the same project may have a host of the same name. So a host is found, and
removed, only if it has the mark of this fleet.
"""


class CloudError(Exception):
    """A request failed; the message says why."""


class Commands(NamedTuple):
    """A cloud's commands.

    `find` prints the ids of a host, if it exists. `create` reads the user data from standard input.
    `destroy` removes the hosts with these ids, and returns when they are gone.
    """

    find: Callable[[Host], list[str]]
    create: Callable[[Host], list[str]]
    destroy: Callable[[Host, list[str]], list[list[str]]]


# OpenStack


def _openstack(*arguments: str) -> list[str]:
    version = ["--os-compute-api-version", TAGGED]
    return ["openstack", "--os-cloud", PROFILE, *version, "server", *arguments]


def _openstack_create(host: Host) -> list[str]:
    nics = [word for port in host["ports"] for word in ("--nic", f"port-id={port}")]
    apart = ["--hint", f"group={host['apart']}"] if host["apart"] else []
    return _openstack(
        *("create", "--wait", "--image", host["image"], "--flavor", host["size"]),
        *("--user-data", STANDARD_INPUT, "--tag", host["fleet"], *nics, *apart, host["name"]),
    )


OPENSTACK = Commands(
    find=lambda host: _openstack(
        *("list", "--name", f"^{host['name']}$", "--tags", host["fleet"]),
        *("--format", "value", "--column", "ID"),
    ),
    create=_openstack_create,
    destroy=lambda host, ids: [_openstack("delete", "--wait", *ids)],
)


# AWS

MARK = "salina-fleet"
"""The tag or label with the mark of the fleet."""
DEVICE = "/dev/xvda"
"""The root device of Debian's images."""


def _aws(host: Host, *arguments: str) -> list[str]:
    return ["aws", "--region", host["region"], "ec2", *arguments]


def _aws_create(host: Host) -> list[str]:
    ports = [
        {"DeviceIndex": number, "NetworkInterfaceId": port}
        for number, port in enumerate(host["ports"])
    ]
    disk = {"VolumeSize": host["disk"], "VolumeType": "gp3", "Encrypted": True}
    own = {"Name": host["name"], MARK: host["fleet"]}
    tags = {
        "ResourceType": "instance",
        "Tags": [{"Key": key, "Value": value} for key, value in own.items()],
    }
    # without a token, and from more than one hop away, the service with the user data says nothing
    metadata = "HttpTokens=required,HttpPutResponseHopLimit=1"
    return _aws(
        host,
        *("run-instances", "--image-id", host["image"], "--instance-type", host["size"]),
        *("--user-data", f"file://{STANDARD_INPUT}", "--metadata-options", metadata),
        *("--network-interfaces", json.dumps(ports)),
        *("--block-device-mappings", json.dumps([{"DeviceName": DEVICE, "Ebs": disk}])),
        *("--tag-specifications", json.dumps([tags])),
        *(("--placement", f"GroupName={host['apart']}") if host["apart"] else ()),
        *("--query", "Instances[].InstanceId", "--output", "text"),
    )


AWS = Commands(
    find=lambda host: _aws(
        host,
        "describe-instances",
        *("--filters", f"Name=tag:Name,Values={host['name']}"),
        f"Name=tag:{MARK},Values={host['fleet']}",
        "Name=instance-state-name,Values=pending,running,stopping,stopped,shutting-down",
        *("--query", "Reservations[].Instances[].InstanceId", "--output", "text"),
    ),
    create=_aws_create,
    destroy=lambda host, ids: [
        _aws(host, "terminate-instances", "--instance-ids", *ids),
        # their network interfaces are free again only then
        _aws(host, "wait", "instance-terminated", "--instance-ids", *ids),
    ],
)


# Google Cloud


def _google(host: Host, *arguments: str) -> list[str]:
    place = ["--project", host["project"], "--quiet"]
    return ["gcloud", "compute", "instances", *arguments, *place]


def _google_create(host: Host) -> list[str]:
    cards = []
    for port in host["ports"]:
        public = f"address={port['public']}" if port["public"] else "no-address"
        card = f"subnet={port['subnet']},private-network-ip={port['address']},{public}"
        cards += ["--network-interface", card]
    apart = ["--resource-policies", host["apart"]] if host["apart"] else []
    return _google(
        host,
        *("create", host["name"], "--zone", host["zone"], "--machine-type", host["size"]),
        *("--image", host["image"], "--boot-disk-size", f"{host['disk']}GB"),
        *("--metadata-from-file", f"user-data={STANDARD_INPUT}", *cards, *apart),
        *("--tags", ",".join(host["tags"]), "--labels", f"{MARK}={host['fleet']}"),
        *("--no-service-account", "--no-scopes"),
    )


GOOGLE = Commands(
    find=lambda host: _google(
        host,
        *("list", "--filter", f"name={host['name']} AND labels.{MARK}={host['fleet']}"),
        *("--format", "value(name)"),
    ),
    create=_google_create,
    destroy=lambda host, ids: [_google(host, "delete", *ids, "--zone", host["zone"])],
)

CLOUDS: Mapping[str, Commands] = {"aws": AWS, "google": GOOGLE, "openstack": OPENSTACK}
"""The commands of each cloud."""


def _run(argv: list[str], given: str = "") -> str:
    """Return the output of a command. The message of a failure never has the user data."""
    try:
        done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CloudError(f"{argv[0]}: {error.strerror}; install it, and log in") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise CloudError(f"{' '.join(argv[:4])} ended with exit code {done.returncode}: {said}")
    return done.stdout


def known(path: str, name: str) -> tuple[Commands, Host]:
    """Return the commands of the cloud, and a host of the fleet, as OpenTofu's output has them.

    Raises:
        CloudError: the output is missing or damaged, or has no such host.
    """
    try:
        fleet = json.loads(Path(path).read_text(encoding="utf-8"))["fleet"]["value"]
        commands, hosts = CLOUDS[fleet["cloud"]], fleet["hosts"]
    except OSError as error:
        raise CloudError(f"{path}: {error.strerror}\nnext: tofu output -json > {path}") from None
    except (ValueError, KeyError, TypeError):
        found = "is not the output of a fleet"
        raise CloudError(f"{path}: {found}\nnext: tofu output -json > {path}") from None
    if name not in hosts:
        raise CloudError(
            f"{path}: has no host {name!r}; write the networks again after a change of "
            "pillar/topology.yaml\nnext: salt-run cloud.tofu"
        )
    return commands, hosts[name]


def create(commands: Commands, host: Host, user_data: str) -> None:
    """Make a host. One that exists has an older key, so it is replaced."""
    destroy(commands, host)
    _run(commands.create(host), user_data)


def destroy(commands: Commands, host: Host) -> bool:
    """Remove a host; return whether it existed."""
    ids = _run(commands.find(host)).split()
    for argv in commands.destroy(host, ids) if ids else ():
        _run(argv)
    return bool(ids)


def main(arguments: list[str], path: str = RECORD) -> int:
    """Run the command line's request, and return the exit code."""
    if len(arguments) != 2 or arguments[0] not in ("create", "destroy"):
        print(USAGE, file=sys.stderr)
        return 2
    action, name = arguments
    os.environ.setdefault("HOME", "/root")  # a service has none; the logins are there
    try:
        commands, host = known(path, name)
        if action == "create":
            create(commands, host, sys.stdin.read())
            print(f"{name}: created")
        else:
            print(f"{name}: {'removed' if destroy(commands, host) else 'does not exist'}")
    except CloudError as error:
        print(f"{action} {name}: {error}", file=sys.stderr)
        return 1
    return 0
