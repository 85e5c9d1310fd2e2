"""The connections on which minions listen to the master, as the master's kernel lists them."""

from __future__ import annotations

from collections.abc import Mapping

Connection = tuple[str, str]
"""A minion's id, and the port from which it is connected."""


def command(port: int) -> list[str]:
    """Return the command that lists the connections to a port of the master."""
    return ["ss", "-H", "-t", "-n", "state", "established", f"( sport = :{port} )"]


def peers(shown: str, names: Mapping[str, str]) -> set[Connection]:
    """Return the known peers in the output of `command`.

    Args:
        shown: lines with the peer's address:port in the fourth column.
        names: the minion's id for each address.
    """
    ends = [line.split()[3].rpartition(":") for line in shown.splitlines()]
    addresses = [(end[0].strip("[]").removeprefix("::ffff:"), end[2]) for end in ends]
    return {(names[address], port) for address, port in addresses if address in names}
