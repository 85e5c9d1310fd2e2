"""The settings of the daily look at what another apply would change."""

from __future__ import annotations

from dataclasses import dataclass

from salina_fleet.model.updates import DAY
from salina_fleet.role import Tuning
from salina_fleet.schema.declare import flag, number


@dataclass(frozen=True)
class DriftSettings(Tuning):
    """The daily look of each host at what another apply would change, and the age of the last."""

    enabled: bool = flag(True, "Whether each host predicts an apply once a day.")
    hour: int = number(
        5,
        0,
        23,
        "The hour, by each host's own clock, in which the first host does so; the others follow "
        "one by one, as with their updates.",
    )
    alarm_days: int = number(
        3,
        0,
        365,
        "The days after which it is a fault that an apply would change something, or that the last "
        "one failed. Until then it is a notice.",
    )
    apply_days: int = number(
        35, 1, 3650, "The days after the last apply of a host from which on there is a notice."
    )


def time(hour: int, later: int) -> str:
    """Return the time of day at which a host predicts an apply: 05:10.

    Args:
        hour: the hour of the first host.
        later: how many minutes after the first host.
    """
    minute = (hour * 60 + later) % DAY
    return f"{minute // 60:02}:{minute % 60:02}"
