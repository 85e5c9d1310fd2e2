"""The settings of the certificates."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from salina.common import reading
from salina_fleet.role import Tuning
from salina_fleet.schema.declare import PATH, SECONDS, given, number, record, seconds, text
from salina_fleet.schema.document import join, show
from salina_fleet.schema.faults import invalid, missing
from salina_fleet.schema.rules import Nullable

if TYPE_CHECKING:
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Topology

LONG, LONG_WORDS = r"[0-9]{1,5}[mhd]", "a duration such as 90d, 12h or 30m"
SHORTEST, LONGEST = 120.0, 825 * 86_400.0
"""Seconds that a certificate may be valid; browsers accept no longer time."""
HTTPS = 443
"""The port of a directory whose URL names none."""
CHALLENGED = 80
"""The port at which an ACME directory asks for the answer to its challenge."""


@dataclass(frozen=True)
class AcmeSettings:
    """The ACME directory that issues the published certificates with `public: acme`."""

    directory: str = text(
        "https://acme-v02.api.letsencrypt.org/directory",
        r"https://[A-Za-z0-9._~:/?&=%\[\]-]+",
        "a URL such as https://acme-v02.api.letsencrypt.org/directory",
        about=(
            "The URL of the ACME directory. By setting `public: acme` the operator agrees to its "
            "terms of service."
        ),
    )
    contact: str | None = text(
        None,
        r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+",
        "a mail address such as ops@example.com",
        about="The address to which the directory writes about the account.",
    )
    ca: str | None = text(
        None,
        PATH,
        "an absolute path",
        about=(
            "A PEM file on the master: the CA that signed the certificate of the directory's own "
            "web server. Null stands for the CAs that Debian trusts."
        ),
    )

    @property
    def port(self) -> int:
        """Return the TCP port of the directory.

        Raises:
            ValueError: the URL has no host, or no valid port.
        """
        found = urlsplit(self.directory)
        if not found.hostname:
            raise ValueError(self.directory)
        return found.port or HTTPS


@dataclass(frozen=True)
class TlsSettings(Tuning):
    """The certificates of the hosts, and those with which clients reach the applications."""

    lifetime: str = text(
        "90d", LONG, LONG_WORDS, about="The time for which a host's certificate is valid."
    )
    renew: str = text(
        "30d", LONG, LONG_WORDS, about="The time before its end at which a certificate is renewed."
    )
    public: Literal["ca", "own", "acme"] = given(
        default="ca",
        about=(
            "The certificates with which clients reach the applications: `ca` for the fleet's own "
            "CA, `own` for those that the operator has given by `salt-run certificates.own`, "
            "`acme` for those that a public CA issues by itself."
        ),
    )
    acme: AcmeSettings | None = given(
        Nullable(record(AcmeSettings)),
        None,
        about="The source of the published certificates with `public: acme`.",
    )
    ca_days: int = number(3650, 30, 7300, "The days for which the CA's certificate is valid.")

    @property
    def least(self) -> int:
        """Return the fewest seconds of a healthy host: half the time for a renewal is over."""
        return int(seconds(self.renew) / 2)

    @property
    def every(self) -> int:
        """Return the seconds between two looks at the certificates: five while one is due.

        A public CA may be away for a while, above all before its first certificate.
        """
        longest = 3600 if self.public == "acme" else 86_400
        return max(10, min(longest, int(seconds(self.renew) / 10)))

    def rules(self) -> Iterator[tuple[str, str]]:
        """A certificate is not due for renewal when it is issued."""
        lifetime, renew = seconds(self.lifetime), seconds(self.renew)
        if not SHORTEST <= lifetime <= LONGEST:
            yield "lifetime", invalid(self.lifetime, "between 2m and 825d")
        elif not SHORTEST / 2 <= renew < lifetime:
            yield "renew", invalid(self.renew, f"between 1m and lifetime: {self.lifetime}")
        elif self.ca_days * SECONDS["d"] < lifetime:
            why = f"because lifetime is {self.lifetime}, and the CA outlives what it signs"
            words = f"at least {math.ceil(lifetime / SECONDS['d'])}, {why}"
            yield "ca_days", invalid(self.ca_days, words)
        if self.acme:
            try:
                _ = self.acme.port
            except ValueError:
                words = "a URL such as https://acme.example:8443/directory, with a port up to 65535"
                yield "acme.directory", invalid(self.acme.directory, words)
        elif self.public == "acme":
            words = "a mapping such as {contact: ops@example.com} with public: acme"
            yield "acme", missing(words)

    def conflicts(
        self,
        topology: Topology,
        settings: Settings,
        definitions: Mapping[str, Mapping[str, Any]],
    ) -> Iterator[tuple[str, str]]:
        """A public CA has to be able to issue a certificate for every domain."""
        if self.public != "acme" or self.acme is None:
            return
        other = "or choose another `public`"
        for one in topology.applications.values():
            if not _public(one.domain):
                place = f"{join('applications', one.name)}.domain"
                found = f"no directory issues a certificate for {place}: {show(one.domain)}"
                yield "public", f"{found}; give it a domain name with a dot, {other}"
        if not topology.service.tls:
            yield "public", f"service.tls is false, so no certificate is used; set it, {other}"
        if topology.service.http != CHALLENGED:
            found = f"a directory asks at port {CHALLENGED}, and service.http is"
            words = f"{topology.service.http}; set it to {CHALLENGED}, {other}"
            yield "public", f"{found} {words}"
        if self.acme.ca and (fault := unreadable(self.acme.ca)):
            yield "acme.ca", fault


def unreadable(file: str) -> str:
    """Return why a file has no certificates, or ""."""
    from cryptography import x509

    try:
        x509.load_pem_x509_certificates(reading.read(file))
    except FileNotFoundError as error:
        return f"{file}: {error.strerror}; put the file on the master"
    except OSError as error:
        return f"{file}: {error.strerror}"
    except ValueError:
        return f"{file} has no certificate; must be a file of PEM certificates"
    return ""


def _public(domain: str) -> bool:
    """Tell whether a domain can be in a certificate of a public CA."""
    try:
        ipaddress.ip_address(domain)
    except ValueError:
        return "." in domain
    return False
