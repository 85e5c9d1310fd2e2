"""The operators: the people who log in to the fleet, as the topology lists them."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

from salina_fleet.schema.declare import given, named
from salina_fleet.schema.document import join
from salina_fleet.schema.rules import ListOf, Name, Parsed, Unfit

LEAST_RSA = 2048
"""The fewest bits of an RSA key (RequiredRSASize in salt/ssh/files/sshd.conf)."""
FIELDS = {
    "ssh-ed25519": 2,
    "sk-ssh-ed25519@openssh.com": 3,
    "ecdsa-sha2-nistp256": 3,
    "ecdsa-sha2-nistp384": 3,
    "ecdsa-sha2-nistp521": 3,
    "sk-ecdsa-sha2-nistp256@openssh.com": 4,
    "ssh-rsa": 3,
}
"""The types of public keys, each with the number of fields in its data (RFC 4253, 5656, 8709)."""
MOST_KEY = 16_000
"""The most characters of a public key."""
SYSTEM = (
    "root|daemon|bin|sys|sync|games|man|lp|mail|news|uucp|proxy|www-data|backup|list|irc|gnats|"
    "nobody|sshd|sudo|adm|messagebus|polkitd|uuidd|ntp|tcpdump|admin|wheel|staff|users|"
    "tty|disk|kmem|dialout|fax|voice|cdrom|floppy|tape|audio|dip|operator|src|shadow|utmp|video|"
    "sasl|plugdev|nogroup|crontab|input|sgx|kvm|render|netdev|ssl-cert|"
    "postgres|etcd|patroni|haproxy|nginx|pgbouncer|gluster|odoo|node|nagios|stunnel4|salt|"
    "prometheus|restic|msmtp|"
    "clients|any|_.*|systemd-.*|salina.*"
)
"""Names that accounts or groups of Debian and of the fleet's daemons have."""


def public_key(written: str) -> str:
    """Return a public key as its type and its data, without its comment."""
    kind, _, rest = written.strip().partition(" ")
    data = rest.strip().partition(" ")[0]
    if "\n" in written.strip() or len(written) > MOST_KEY:
        raise Unfit
    if kind not in FIELDS:
        raise Unfit
    try:
        fields = _fields(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError, struct.error):
        raise Unfit("is cut or changed; copy the whole line of the .pub file") from None
    if len(fields) != FIELDS[kind] or fields[0] != kind.encode():
        raise Unfit("is cut or changed; copy the whole line of the .pub file")
    if kind == "ssh-ed25519" and len(fields[1]) != 32:
        raise Unfit("is cut or changed; copy the whole line of the .pub file")
    if kind == "ssh-rsa" and (bits := int.from_bytes(fields[2]).bit_length()) < LEAST_RSA:
        raise Unfit(f"has {bits} bits, and RSA needs {LEAST_RSA}; make an ed25519 key")
    return f"{kind} {data}"


def _fields(blob: bytes) -> list[bytes]:
    """Return the fields of a public key's data, each of which begins with its length."""
    fields = []
    while blob:
        (length,) = struct.unpack(">I", blob[:4])
        if length > len(blob) - 4:
            raise ValueError("a field is longer than the data")
        fields.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return fields


def day(written: str) -> str:
    """Return a day in ISO's form."""
    try:
        found = datetime.strptime(written, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise Unfit from None
    if not 2000 <= found.year <= 2099 or found.isoformat() != written:
        raise Unfit
    return written


NAME = Name(
    r"[a-z][a-z0-9_-]{0,30}",
    "a lower-case letter, then letters, digits, - and _, at most 31 characters",
    reserved=SYSTEM,
    reason="an account or a group of the system may have it",
)


@dataclass(frozen=True)
class Operator:
    """A person who logs in through the management host, with the same account on every host."""

    name: str = named()
    keys: tuple[str, ...] = given(
        ListOf(
            Parsed(public_key, "a public key: a line of a .pub file, such as ssh-ed25519 AAAA…"),
            least=1,
        ),
        about="The public SSH keys.",
    )
    expires: str = given(
        Parsed(day, "a day such as 2027-06-30"),
        about="The first day (UTC) on which the operator cannot log in any more.",
    )
    may: Literal["look", "operate", "all"] = given(
        about="The rank: `look` reads the health of the fleet, `operate` also reads logs and runs "
        "applies and orchestrations, `all` is root everywhere.",
    )

    @property
    def end(self) -> date:
        """The first day on which the operator has no access."""
        return date.fromisoformat(self.expires)


def rules(operators: Mapping[str, Operator], jump: bool) -> Iterator[str]:
    """Yield the faults across operators, each as `path: message`.

    Args:
        operators: those without a fault of their own.
        jump: whether the fleet has a management host.
    """
    if operators and not jump:
        yield (
            "operators: no host has role management, through which operators log in; give it to a "
            "host, or remove the operators"
        )
    owners: dict[str, str] = {}
    for one in operators.values():
        for place, key in enumerate(one.keys):
            if owners.setdefault(key, one.name) != one.name:
                yield (
                    f"{join('operators', one.name)}.keys[{place}]: is already a key of "
                    f"{owners[key]}; each operator needs keys of their own"
                )
