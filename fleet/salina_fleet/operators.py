"""The accounts of the operators on every host; nothing in a fleet without a management host.

Every host has the same accounts, and takes their keys from the management host only. Why:
docs/decisions/0056-operators-and-the-management-host.md.
"""

from __future__ import annotations

from datetime import UTC, datetime

from salina_fleet import commands, host_key, secrets
from salina_fleet.fleet import Fleet
from salina_fleet.model.operators import Operator
from salina_fleet.model.topology import Host
from salina_fleet.role import MasterData, Pillar

JUMP = "management"
"""The role of the host through which operators log in."""
MASTER = "master"
"""The role of the host with `salt` and `salt-run`."""
GROUPS = {
    "look": (),
    "operate": ("adm", "systemd-journal"),
    "all": ("adm", "systemd-journal", "salina-all"),
}
"""A rank -> its groups, beside that of all operators."""
EVERYBODY = "salina-operators"
RECORDER = "salina-session@{}.socket"
"""The socket of the recorder of an operator's sessions."""

KEYS = {
    "operators": "The operators' accounts and sshd; only in a fleet with a management host.",
    "operators.host_key": "The private SSH key of the host, in the form of OpenSSH.",
    "operators.outside": "Whether operators reach the host from outside: the management host.",
    "operators.accounts": "The accounts.",
    "operators.accounts[].name": "The operator's name.",
    "operators.accounts[].groups": "The groups of the account.",
    "operators.accounts[].expires": (
        "The first day without access, in days since 1970, as /etc/shadow counts them."
    ),
    "operators.accounts[].keys": "The lines of the file of public keys.",
    "operators.salt": "The commands of Salt by operator, on the master; null on other hosts.",
    "operators.salt.ranks": "The operators.",
    "operators.salt.ranks.NAME": "The operator's rank: `look`, `operate` or `all`.",
    "operators.salt.allowed": "The commands of each rank; `all` may give every command.",
    "operators.salt.allowed[].rank": "The rank.",
    "operators.salt.allowed[].program": "`salt` or `salt-run`.",
    "operators.salt.allowed[].function": "The function.",
    "operators.salt.allowed[].arguments": "The patterns of the arguments that it may have.",
}
"""The meanings of the keys of `pillar`."""


def pillar(data: MasterData, host: Host) -> Pillar:
    """Return the section of a host's pillar, if the fleet has a management host."""
    fleet = data.fleet
    if not fleet.having(JUMP):
        return {}
    operators = fleet.topology.operators.values()
    outside = JUMP in host.roles
    here = [] if outside else [fleet.address(one, "management") for one in fleet.having(JUMP)]
    ranks = {one.name: one.may for one in operators}
    return {
        "operators": {
            "host_key": host_key.private(data.secrets.get(secrets.SSH_HOSTS), host.id),
            "outside": outside,
            "accounts": [account(one, here) for one in operators],
            "salt": (
                {"ranks": ranks, "allowed": commands.allowed()} if MASTER in host.roles else None
            ),
        }
    }


def account(operator: Operator, sources: list[str]) -> Pillar:
    """Return an operator's account on a host.

    Args:
        operator: the operator.
        sources: the addresses from which the keys are taken; empty for every address.
    """
    options = [f'from="{",".join(sources)}"'] if sources else []
    options.append(f'expiry-time="{operator.end:%Y%m%d}Z"')
    days = (operator.end - datetime.fromtimestamp(0, UTC).date()).days
    return {
        "name": operator.name,
        "groups": sorted((EVERYBODY, *GROUPS[operator.may])),
        "expires": days,
        "keys": [f"{','.join(options)} {key}" for key in operator.keys],
    }


def known_hosts(data: MasterData) -> list[str]:
    """Return the public key of every host, as a file of known hosts has it."""
    secret, fleet = data.secrets.get(secrets.SSH_HOSTS), data.fleet
    return [
        f"{','.join(names(fleet, host))} {host_key.public(secret, host.id)}"
        for host in fleet.hosts.values()
    ]


def names(fleet: Fleet, host: Host) -> list[str]:
    """Return the names and addresses by which operators reach a host."""
    addresses = [fleet.address(host, "management")]
    if JUMP in host.roles:
        addresses.append(fleet.address(host, "edge"))
    return list(dict.fromkeys([host.id, *addresses]))
