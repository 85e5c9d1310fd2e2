"""SQL that needs a database without sessions."""

from __future__ import annotations

from collections.abc import Callable

from salt.exceptions import CommandExecutionError

from salina.common import wait

DISCONNECTED = 30
"""Seconds in which sessions that come again are ended again."""


def without(query: Callable[[str], object], sql: str, databases: str) -> None:
    """Run SQL that ends the sessions itself, until none comes between both.

    Args:
        query: runs SQL on the primary.
        sql: ends the sessions, and then does what PostgreSQL refuses while there is one.
        databases: the databases, for the message.

    Raises:
        CommandExecutionError: sessions came for too long, or PostgreSQL refused.
    """

    def obstacle() -> str:
        try:
            query(sql)
        except CommandExecutionError as error:
            if "is being accessed by other users" in str(error):
                return str(error)
            raise
        return ""

    try:
        wait.clear(obstacle, DISCONNECTED, f"{databases} to be without sessions")
    except TimeoutError as error:
        raise CommandExecutionError(str(error)) from None
