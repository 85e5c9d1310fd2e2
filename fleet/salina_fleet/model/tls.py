"""The settings of the certificates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from salina_fleet.role import Tuning
from salina_fleet.schema.declare import given, number, seconds, text
from salina_fleet.schema.faults import invalid

LONG, LONG_WORDS = r"[0-9]{1,5}[mhd]", "a duration such as 90d, 12h or 30m"
SHORTEST, LONGEST = 120.0, 825 * 86_400.0
"""Seconds that a certificate may be valid; browsers accept no longer time."""


@dataclass(frozen=True)
class TlsSettings(Tuning):
    """The certificates of the hosts, which the fleet's own CA signs."""

    lifetime: str = text(
        "90d", LONG, LONG_WORDS, about="The time for which a host's certificate is valid."
    )
    renew: str = text(
        "30d", LONG, LONG_WORDS, about="The time before its end at which a certificate is renewed."
    )
    public: Literal["ca", "own"] = given(
        default="ca",
        about=(
            "The certificates with which clients reach the applications: `ca` for the fleet's own "
            "CA, `own` for those that the operator has given by `salt-run certificates.own`."
        ),
    )
    ca_days: int = number(3650, 30, 7300, "The days for which the CA's certificate is valid.")

    @property
    def least(self) -> int:
        """Return the fewest seconds of a healthy host: half the time for a renewal is over."""
        return int(seconds(self.renew) / 2)

    @property
    def every(self) -> int:
        """Return the seconds between two looks at the certificates: five while one is due."""
        return max(10, min(86_400, int(seconds(self.renew) / 10)))

    def rules(self) -> Iterator[tuple[str, str]]:
        """A certificate is not due for renewal when it is issued."""
        lifetime, renew = seconds(self.lifetime), seconds(self.renew)
        if not SHORTEST <= lifetime <= LONGEST:
            yield "lifetime", invalid(self.lifetime, "between 2m and 825d")
        elif not SHORTEST / 2 <= renew < lifetime:
            yield "renew", invalid(self.renew, f"between 1m and lifetime: {self.lifetime}")
