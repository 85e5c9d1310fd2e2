"""Whether a URL answers as it should, asked as whoever uses it asks."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping


def ask(url: str, headers: Mapping[str, str], timeout: float) -> tuple[str, Mapping[str, str]]:
    """Send one GET: "" and the answer's headers if it says 200, otherwise what is wrong, and {}.

    Whose certificate an https URL shows is not looked at: it may be one that only clients know, and
    who asks here asks a host that the topology names.

    Args:
        url: http://127.0.0.1:8069/web/health
        headers: of the request.
        timeout: seconds for each step of the connection.
    """
    request = urllib.request.Request(url, headers=dict(headers))
    anyone = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(request, timeout=timeout, context=anyone) as answer:
            if answer.status == 200:
                return "", answer.headers
            return f"status {answer.status}", {}
    except urllib.error.HTTPError as error:
        return f"status {error.code}", {}
    except (OSError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__, {}
