"""PostgreSQL's parameters: which names it knows, and which values it takes for each.

The table beside this file is that of Debian's PostgreSQL 15. This statement makes it:

    COPY (SELECT lower(name) AS name, vartype AS kind, unit, min_val AS low, max_val AS high,
                 array_to_string(enumvals, '|') AS choices
          FROM pg_settings WHERE context <> 'internal' ORDER BY 1) TO STDOUT CSV HEADER
"""

from __future__ import annotations

import csv
import difflib
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from salina_fleet.schema.declare import Scalar
from salina_fleet.schema.faults import choose, invalid

TABLE = Path(__file__).with_name("postgresql-15.csv")
EXTENSION = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)+")
"""A parameter of an extension: PostgreSQL takes any value until it has loaded the extension."""
OURS = frozenset(
    {
        *("data_directory", "config_file", "hba_file", "ident_file", "external_pid_file"),
        *("listen_addresses", "port", "unix_socket_directories", "cluster_name"),
        *("ssl", "ssl_ca_file", "ssl_cert_file", "ssl_key_file"),
        *("primary_conninfo", "primary_slot_name", "synchronous_standby_names"),
    }
)
"""The parameters that Patroni or Salina gives every member, whatever the settings say."""
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
def known() -> dict[str, Parameter]:
    """Return the parameters that an operator may set, by their names."""
    with TABLE.open(encoding="utf-8", newline="") as handle:
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


def fault(name: str, value: Scalar) -> str | None:
    """Return the message for a parameter that PostgreSQL would refuse; None for a good one."""
    if EXTENSION.fullmatch(name):
        return None
    parameter = known().get(name)
    if parameter is None:
        near = difflib.get_close_matches(name.lower().replace("-", "_"), known(), 3)
        advice = choose(near) if near else "see pg_settings for the names"
        return f"unknown parameter of PostgreSQL 15; {advice}"
    if name in OURS:
        return "Salina or Patroni sets this parameter; remove it"
    if parameter.kind == "bool":
        fits = _word(value) in BOOLEANS
        return None if fits else invalid(value, "true or false")
    if parameter.kind == "enum":
        words = BOOLEANS if "on" in parameter.choices else ()
        fits = _word(value) in (*parameter.choices, *words)
        return None if fits else invalid(value, f"one of {', '.join(parameter.choices)}")
    if parameter.kind in ("integer", "real"):
        return _number(parameter, value)
    return None


def _word(value: Scalar) -> str:
    """Return a value as PostgreSQL's configuration has it, in lower case."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value).lower()


def _number(parameter: Parameter, value: Scalar) -> str | None:
    """Return why a value is not a number that a parameter takes; None for a good one."""
    units = _units(parameter.unit)
    own = parameter.unit.lstrip("0123456789")
    base = int(parameter.unit.removesuffix(own) or 1) * units.get(own, 1)
    low, high = (f"{end:.15g}" for end in (parameter.low, parameter.high))
    unit = f" of {parameter.unit}, or with one of the units {', '.join(units)}" if units else ""
    words = f"a number from {low} to {high}{unit}"
    if isinstance(value, bool):
        return invalid(value, words)
    found = NUMBER.fullmatch(str(value).strip())
    if not found or (found["unit"] and found["unit"] not in units):
        return invalid(value, words)
    digits = found["number"]
    octal = re.fullmatch(r"0[0-7]{1,15}", digits)  # PostgreSQL reads the mode 0600 as C does
    number = float(int(digits, 8) if octal else float(digits))
    if found["unit"]:
        number *= units[found["unit"]] / base
    # PostgreSQL rounds a whole number, so what is just beyond an end may fit
    if parameter.kind == "integer" and math.isfinite(number):
        number = float(round(number))
    return None if parameter.low <= number <= parameter.high else invalid(value, words)


def _units(unit: str) -> dict[str, float]:
    """Return the units that a parameter's value may have."""
    own = unit.lstrip("0123456789")
    return next((dict(family) for family in (MEMORY, TIME) if own in family), {})
