"""PostgreSQL's parameters: which names it knows, and which values it takes for each.

Beside this file is a table for each version that a platform has. PostgreSQL itself makes it, as the
platform packages it, with this statement:

    COPY (SELECT lower(name) AS name, vartype AS kind, unit, min_val AS low, max_val AS high,
                 array_to_string(enumvals, '|') AS choices
          FROM pg_settings WHERE context <> 'internal' ORDER BY 1) TO STDOUT CSV HEADER
"""

from __future__ import annotations

import csv
import difflib
import math
import re
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from salina_fleet.platforms import PLATFORMS
from salina_fleet.schema.declare import Scalar
from salina_fleet.schema.faults import choose, invalid

TABLES = Path(__file__).parent
VERSIONS = tuple(sorted({one.postgresql for one in PLATFORMS.values()}))
"""The major versions that database hosts can have."""
EXTENSION = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)+")
"""A parameter of an extension: PostgreSQL takes any value until it has loaded the extension."""
OURS = frozenset(
    {
        *("data_directory", "config_file", "hba_file", "ident_file", "external_pid_file"),
        *("listen_addresses", "port", "unix_socket_directories", "cluster_name"),
        *("ssl", "ssl_ca_file", "ssl_cert_file", "ssl_key_file"),
        *("primary_conninfo", "primary_slot_name", "synchronous_standby_names", "hot_standby"),
    }
)
"""The parameters that Patroni or Salina gives every member, whatever the settings say."""


def _least(number: float, words: str) -> tuple[Callable[[float], bool], str]:
    """Return the rule of a number that must not be lower, and its words."""
    return (lambda found: found >= number), f"at least {words}"


SPECIAL: Mapping[str, tuple[Callable[[float], bool], str]] = {
    # two segments of WAL, without which PostgreSQL does not start
    "min_wal_size": _least(32, "32MB"),
    "max_wal_size": _least(32, "32MB"),
    # Patroni replaces a lower number by its own: CMDLINE_OPTIONS in patroni/postgresql/config.py
    "max_wal_senders": _least(3, "3"),
    "max_replication_slots": _least(4, "4"),
    "max_locks_per_transaction": _least(32, "32"),
    "max_worker_processes": _least(2, "2"),
    "wal_keep_size": _least(16, "16MB"),
    "vacuum_buffer_usage_limit": (lambda number: not 0 < number < 128, "0 or at least 128kB"),
    **{
        f"{name}_buffers": (lambda number: number % 16 == 0, "a multiple of 16 of 8kB")
        for name in (
            *("commit_timestamp", "multixact_member", "multixact_offset", "notify"),
            *("serializable", "subtransaction", "transaction"),
        )
    },
}
"""Numbers of which PostgreSQL takes not all between their limits: which it takes, and the words."""
ZONES = frozenset(map(str.lower, zoneinfo.available_timezones()))
WORDS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "wal_level": (lambda text: text != "minimal", "replica or logical"),
    "log_destination": (
        lambda text: {*re.split(r"\s*,\s*", text)} <= {"stderr", "csvlog", "jsonlog", "syslog"},
        "stderr, csvlog, jsonlog and syslog, with commas between them",
    ),
    "datestyle": (
        lambda text: bool(re.fullmatch(r"(iso|sql|postgres|german)(\s*,\s*(dmy|mdy|ymd))?", text)),
        "such as 'ISO, DMY': one of ISO, SQL, Postgres and German, and one of DMY, MDY and YMD",
    ),
    **dict.fromkeys(
        ("timezone", "log_timezone"),
        (lambda text: text in ZONES or not ZONES, "the name of a time zone such as Europe/Madrid"),
    ),
}
"""Texts of which PostgreSQL or Patroni takes not all, in small letters: which, and the words."""
BOOLEANS = ("on", "off", "true", "false", "yes", "no", "1", "0")
NUMBER = re.compile(r"(?P<number>[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?)\s*(?P<unit>[A-Za-z]*)")
MEMORY = {"B": 1, "kB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
TIME = {"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True)
class Parameter:
    """A parameter of PostgreSQL.

    Attributes:
        kind: bool, integer, real, enum or string.
        unit: that of a number without one, such as kB, 8kB or ms; empty for a plain number.
        low: the lowest number, in this unit.
        high: the highest number.
        choices: the values of an enum.
    """

    kind: str
    unit: str
    low: float
    high: float
    choices: tuple[str, ...]


@cache
def known(version: int) -> dict[str, Parameter]:
    """Return the parameters that an operator may set, by their names.

    Args:
        version: PostgreSQL's major version.
    """
    with (TABLES / f"postgresql-{version}.csv").open(encoding="utf-8", newline="") as handle:
        return {
            row["name"]: Parameter(
                row["kind"],
                row["unit"],
                float(row["low"] or -math.inf),
                float(row["high"] or math.inf),
                tuple(row["choices"].split("|")) if row["choices"] else (),
            )
            for row in csv.DictReader(handle)
        }


def fault(name: str, value: Scalar, versions: Sequence[int] = VERSIONS) -> str | None:
    """Return the message for a parameter that all of these versions of PostgreSQL would refuse.

    Args:
        name: the parameter's name.
        value: its value.
        versions: major versions; by default all that database hosts can have.

    Returns:
        The message; None if one of the versions takes the parameter.
    """
    if isinstance(value, str) and re.search(r"[\x00-\x1f\x7f]", value):
        return invalid(value, "one line of text")
    if EXTENSION.fullmatch(name):
        return None
    found = [known(one)[name] for one in versions if name in known(one)]
    if not found:
        return f"unknown parameter of PostgreSQL {_listed(versions)}; {_advice(name, versions)}"
    if name in OURS:
        return "Salina or Patroni sets this parameter; remove it"
    messages = [_unfit(name, parameter, value) for parameter in found]
    return None if None in messages else messages[0]


def number(name: str, value: Scalar, version: int) -> float:
    """Return the number that a version of PostgreSQL reads in a parameter's value.

    Args:
        name: the parameter's name.
        value: its value, in which `fault` found nothing.
        version: PostgreSQL's major version.

    Raises:
        ValueError: the value is not a number.
    """
    found = _read(known(version)[name], value)
    if found is None:
        raise ValueError(f"{name}: {value} is not a number")
    return found


def _listed(versions: Sequence[int]) -> str:
    """Return versions as text: 15, 16 and 17."""
    *others, last = map(str, versions)
    return f"{', '.join(others)} and {last}" if others else last


def _advice(name: str, versions: Sequence[int]) -> str:
    """Return what to do about a parameter that these versions do not know."""
    elsewhere = [one for one in VERSIONS if name in known(one)]
    if elsewhere:
        return f"remove it, or have database hosts with PostgreSQL {_listed(elsewhere)}"
    names = {one: None for version in versions for one in known(version)}
    near = difflib.get_close_matches(name.lower().replace("-", "_"), names, 3)
    return choose(near) if near else "see pg_settings for the names"


def _unfit(name: str, parameter: Parameter, value: Scalar) -> str | None:
    """Return why a parameter does not take a value; None if it does."""
    fits, special = WORDS.get(name, (lambda text: True, ""))
    if not fits(_word(value)):
        return invalid(value, special)
    if parameter.kind == "bool":
        return None if _word(value) in BOOLEANS else invalid(value, "true or false")
    if parameter.kind == "enum":
        words = BOOLEANS if "on" in parameter.choices else ()
        known_word = _word(value) in (*map(str.lower, parameter.choices), *words)
        return None if known_word else invalid(value, f"one of {', '.join(parameter.choices)}")
    if parameter.kind not in ("integer", "real"):
        return None
    found = _read(parameter, value)
    if found is not None and parameter.low <= found <= parameter.high:
        takes, special = SPECIAL.get(name, (lambda number: True, ""))
        return None if takes(found) else invalid(value, special)
    units = _units(parameter.unit)
    low, high = (f"{end:.15g}" for end in (parameter.low, parameter.high))
    unit = f" of {parameter.unit}, or with one of the units {', '.join(units)}" if units else ""
    return invalid(value, f"a number from {low} to {high}{unit}")


def _word(value: Scalar) -> str:
    """Return a value as PostgreSQL's configuration has it, in lower case."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value).lower()


def _read(parameter: Parameter, value: Scalar) -> float | None:
    """Return a value as a number in a parameter's unit; None if it is not a number."""
    if isinstance(value, bool):
        return None
    units = _units(parameter.unit)
    found = NUMBER.fullmatch(str(value).strip())
    if not found or (found["unit"] and found["unit"] not in units):
        return None
    digits = found["number"]
    octal = re.fullmatch(r"0[0-7]{1,15}", digits)  # PostgreSQL reads the mode 0600 as C does
    number = float(int(digits, 8) if octal else float(digits))
    if found["unit"]:
        own = parameter.unit.lstrip("0123456789")
        base = int(parameter.unit.removesuffix(own) or 1) * units[own]
        number *= units[found["unit"]] / base
    # PostgreSQL rounds a whole number, so what is just beyond an end may fit
    if parameter.kind == "integer" and math.isfinite(number):
        number = float(round(number))
    return number


def _units(unit: str) -> dict[str, float]:
    """Return the units that a parameter's value may have."""
    own = unit.lstrip("0123456789")
    return next((dict(family) for family in (MEMORY, TIME) if own in family), {})
