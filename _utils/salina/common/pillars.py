"""The pillar of this host, as this project's modules read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salt.exceptions import CommandExecutionError


def section(pillar: Mapping[str, Any], role: str) -> dict[str, Any]:
    """Return a role's section of the pillar.

    Args:
        pillar: this host's pillar.
        role: the role, which is also the section's name.

    Raises:
        CommandExecutionError: this host does not have the role.
    """
    try:
        return dict(pillar[role])
    except KeyError:
        raise CommandExecutionError(
            f"pillar {role} is missing: this host does not have the role {role}"
        ) from None


def application(pillar: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an application as a database host knows it.

    Args:
        pillar: the database host's pillar.
        name: the application's name.

    Raises:
        CommandExecutionError: this host does not have the role, or knows no such application.
    """
    for one in section(pillar, "database")["applications"]:
        if one["name"] == name:
            return dict(one)
    raise CommandExecutionError(f"{name}: the pillar of this host has no such application")
