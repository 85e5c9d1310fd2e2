"""The second repository: a mirror of the backups at another place.

Why: docs/decisions/0053-a-second-repository-is-a-mirror.md.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from salina_fleet.model.addresses import destination
from salina_fleet.schema.declare import PATH, given, number
from salina_fleet.schema.faults import invalid
from salina_fleet.schema.rules import ListOf, Number, Parsed, Text, Unfit

HTTPS = 443
"""The port of an endpoint whose URL names none."""
HOST_KEYS = ("ssh-ed25519", "ssh-rsa", *(f"ecdsa-sha2-nistp{bits}" for bits in (256, 384, 521)))
"""The types of servers' keys."""


def _host_key(written: str) -> str:
    """Return a public key without its comment."""
    kind, _, rest = written.strip().partition(" ")
    content = rest.split(" ")[0]
    try:
        decoded = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise Unfit from None
    length = len(kind)
    if kind not in HOST_KEYS or decoded[: 4 + length] != length.to_bytes(4, "big") + kind.encode():
        raise Unfit
    return f"{kind} {content}"


@dataclass(frozen=True)
class SecondSettings:
    """The place of the second repository, which is outside of the fleet."""

    kind: Literal["s3", "sftp"] = given(
        about="`s3` for a bucket of an object store, `sftp` for a directory of another host."
    )
    path: str = given(
        Text(PATH, "an absolute path"),
        about=(
            "The directory at the place: below the bucket, or on the other host, where it must "
            "exist. Each fleet needs its own."
        ),
    )
    minutes: int = number(60, 5, 1440, "The minutes from one mirror to the next.")
    endpoint: str = given(
        Text(r"https://[A-Za-z0-9._:\[\]-]+/?", "a URL such as https://s3.example.com"),
        "",
        only=("kind", "s3"),
        about="The URL of the object store.",
    )
    region: str = given(
        Text(r"[A-Za-z0-9-]{1,40}", "a name such as eu-central-1"),
        "",
        only=("kind", "s3"),
        about="The region of the bucket; a store without regions mostly takes us-east-1.",
    )
    bucket: str = given(
        Text(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of a bucket"),
        "",
        only=("kind", "s3"),
        about="The bucket, which must exist.",
    )
    host: str = given(
        Parsed(destination, "an address or a name such as nas.example.com, without a port"),
        "",
        only=("kind", "sftp"),
        about="The other host.",
    )
    port: int = given(
        Number(1, 65535), 22, only=("kind", "sftp"), about="The port of its SSH server."
    )
    user: str = given(
        Text(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}", "the name of a user"),
        "",
        only=("kind", "sftp"),
        about="The user who owns the directory there.",
    )
    host_keys: tuple[str, ...] = given(
        ListOf(Parsed(_host_key, "a public key such as ssh-ed25519 AAAA…")),
        (),
        only=("kind", "sftp"),
        about=(
            "All public keys of the server: the content of its /etc/ssh/ssh_host_*_key.pub. A "
            "server with another key is refused."
        ),
    )

    @property
    def target(self) -> tuple[str, int]:
        """Return the place in words, and its TCP port.

        Raises:
            ValueError: the URL of the endpoint has no host, or no valid port.
        """
        if self.kind == "s3":
            found = urlsplit(self.endpoint)
            if not found.hostname:
                raise ValueError(self.endpoint)
            return self.endpoint, found.port or HTTPS
        return self.host, self.port

    def rules(self) -> Iterator[tuple[str, str]]:
        """The endpoint has a host, and a port of TCP's."""
        try:
            _ = self.target
        except ValueError:
            words = "a URL such as https://s3.example.com:8443, with a port up to 65535"
            yield "endpoint", invalid(self.endpoint, words)


KEYS = {
    "second_repository": "The mirror of the backups at another place; null if there is none.",
    "second_repository.kind": "`s3` or `sftp`.",
    "second_repository.path": "The directory at the place.",
    "second_repository.minutes": "The minutes from one mirror to the next.",
    "second_repository.endpoint": "The URL of the object store; empty for `sftp`.",
    "second_repository.region": "The region of the bucket; empty for `sftp`.",
    "second_repository.bucket": "The bucket; empty for `sftp`.",
    "second_repository.host": "The other host; empty for `s3`.",
    "second_repository.port": "The port of its SSH server.",
    "second_repository.user": "The user there; empty for `s3`.",
    "second_repository.host_keys": "The public keys of the server; empty for `s3`.",
    "second_repository.secret": (
        "The login: a private key, or the id and the secret of an access key, on two lines."
    ),
    "second_repository.parts": "The repositories.",
    "second_repository.parts[].name": "The name of the repository at the place.",
    "second_repository.parts[].kind": "`pgbackrest`, `restic` or `master`.",
    "second_repository.parts[].directory": "The directory on the backup host.",
    "second_repository.parts[].owner": "The user who owns it there.",
    "second_repository.writes": "The directories into which they come back.",
}
"""The meanings of the keys of the backup host's pillar."""
