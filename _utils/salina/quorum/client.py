"""Requests to etcd that need a login once etcd wants one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from salina.common.https import Identity, NoAnswer, call
from salina.quorum.etcd import unguarded


class Refused(Exception):
    """No member took a request; the message has the answer of each of them."""


def login(
    endpoint: str, caller: Identity, credentials: Mapping[str, str]
) -> tuple[Identity | None, Any]:
    """Log in at a member.

    Args:
        endpoint: its address and port.
        caller: the certificate to show.
        credentials: etcd's `name` and `password`.

    Returns:
        The caller with its token; the same caller if etcd wants no login; or None if etcd refuses
        it. And etcd's answer.

    Raises:
        NoAnswer: there is no answer.
    """
    url = f"https://{endpoint}/v3/auth/authenticate"
    status, answer = call("POST", url, caller, dict(credentials))
    if status == 200:
        return replace(caller, authorization=answer["token"]), answer
    return caller if unguarded(answer) else None, answer


def ask(
    endpoints: Iterable[str],
    caller: Identity,
    credentials: Mapping[str, str],
    path: str,
    body: Mapping[str, Any],
) -> Any:
    """Return the answer of the first member that takes a request.

    Args:
        endpoints: addresses and ports of members.
        caller: the certificate to show.
        credentials: etcd's `name` and `password`.
        path: the path of the request after `/v3/`.
        body: its content.

    Raises:
        Refused: no member took it.
    """
    reasons = []
    for endpoint in endpoints:
        try:
            known, answer = login(endpoint, caller, credentials)
            if known:
                url = f"https://{endpoint}/v3/{path}"
                status, answer = call("POST", url, known, dict(body))
                if status == 200:
                    return answer
        except NoAnswer as error:
            reasons.append(str(error))
            continue
        reasons.append(f"{endpoint}: {answer}")
    raise Refused("; ".join(reasons))
