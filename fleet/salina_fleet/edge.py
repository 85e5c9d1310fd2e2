"""The balancer's rules about requests and answers, as prepared data.

salt/balancer/files/edge.cfg turns the data into HAProxy's configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Frame-Options": "SAMEORIGIN",
    "Content-Security-Policy": "frame-ancestors 'self'",
}
"""The headers of every answer, unless the application gives one or its definition an exception."""
ATTEMPTS = 10
"""Successful and failed logins together may be so many times as many as failed ones. A limit on
attempts stops a client that sends many passwords before the first answer arrives."""
SPARE = 10
"""The first connections beyond the limit are answered and logged: one for each ten allowed ones."""

KEYS = {
    "balancer.limits": "The limits for one client address; an IPv6 client is its /64 network.",
    "balancer.limits.connections": "The most connections at the same time.",
    "balancer.limits.closed_above": (
        "The connections above which a further one is closed without an answer."
    ),
    "balancer.limits.requests": "The most requests, and the most new connections, in 10 seconds.",
    "balancer.limits.logins": "The most failed logins in a minute.",
    "balancer.limits.attempts": "The most logins in a minute, successful ones included.",
    "balancer.limits.exempt": "The networks without limits, and the balancer's own addresses.",
    "balancer.headers": "The headers that an answer has which belongs to no application.",
    "balancer.headers[].name": "The header's name.",
    "balancer.headers[].value": "The header's value.",
    "balancer.applications[].edge": "The balancer's rules for the application.",
    "balancer.applications[].edge.logins": "The requests by which somebody logs in.",
    "balancer.applications[].edge.logins[].name": "The login's name in HAProxy's variables.",
    "balancer.applications[].edge.logins[].path": "A regular expression for the path.",
    "balancer.applications[].edge.logins[].method": "The method.",
    "balancer.applications[].edge.logins[].status": "The status of a failed login, or null.",
    "balancer.applications[].edge.logins[].location": (
        "A regular expression for the address to which a failed login redirects, or null."
    ),
    "balancer.applications[].edge.parameter": (
        "A regular expression for the parameters to remove, in every spelling, or null."
    ),
    "balancer.applications[].edge.request_headers": "The headers of requests to remove.",
    "balancer.applications[].edge.cookie": (
        "A regular expression for the name of the session's cookie, or null."
    ),
    "balancer.applications[].edge.same_site": "SameSite of cookies that have none.",
    "balancer.applications[].edge.user_files": (
        "A regular expression for the paths of users' files, in which browsers run nothing, or "
        "null."
    ),
    "balancer.applications[].edge.headers": "The headers to add to answers without them.",
    "balancer.applications[].edge.headers[].name": "The header's name.",
    "balancer.applications[].edge.headers[].value": "The header's value.",
}
"""The meanings of the keys of its pillar."""


def limits(
    connections: int, requests: int, logins: int, exempt: tuple[str, ...], own: list[str]
) -> dict[str, Any]:
    """Return the limits for one client address.

    Args:
        connections: the most connections at the same time.
        requests: the most requests in 10 seconds.
        logins: the most failed logins in a minute.
        exempt: networks without limits.
        own: the balancer's own addresses, from which it asks itself.
    """
    return {
        "connections": connections,
        "closed_above": most_connections(connections),
        "requests": requests,
        "logins": logins,
        "attempts": logins * ATTEMPTS,
        "exempt": [*own, *exempt],
    }


def most_connections(connections: int) -> int:
    """Return how many connections an address holds at most: the allowed and the answered ones."""
    return connections + -(-connections // SPARE)


def application(name: str, definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the balancer removes, counts and adds for one application.

    Args:
        name: the application's name.
        definition: its file of pillar/app.
    """
    session = definition["session"]
    cookie, parameters = session["cookie"], session["parameters"]
    return {
        "logins": [
            {"name": f"{name}.{number}", **login}
            for number, login in enumerate(definition["logins"])
        ],
        "parameter": "|".join(map(spellings, parameters)) or None,
        "request_headers": list(session["headers"]),
        "cookie": re.escape(cookie) if cookie else None,
        "same_site": definition["same_site"],
        "user_files": "|".join(f"({path})" for path in definition["user_files"]) or None,
        "headers": headers(definition["headers"]),
    }


def headers(exceptions: Mapping[str, str | None]) -> list[dict[str, str]]:
    """Return the headers to add, with an application's exceptions."""
    names = {name.lower(): name for name in (*exceptions, *HEADERS)}
    own = {name.lower(): value for name, value in exceptions.items()}
    common = {name.lower(): value for name, value in HEADERS.items()}
    return [
        {"name": names[key], "value": value}
        for key, value in {**common, **own}.items()
        if value is not None
    ]


def spellings(name: str) -> str:
    """Return a regular expression for a parameter's name with any of its characters escaped.

    `session_id` is the same parameter as `session%5Fid`.
    """
    return "".join(f"(?:{re.escape(sign)}|%{ord(sign):02x})" for sign in name)


def closed(definition: Mapping[str, Any], rpc: bool) -> str | None:
    """Return a regular expression for the paths that nginx closes; None when there are none.

    Args:
        definition: a file of pillar/app.
        rpc: whether programs may call the application.
    """
    paths = [*definition["closed"], *([] if rpc else definition["rpc"])]
    return f"^({'|'.join(map(re.escape, paths))})(/|;|$)" if paths else None
