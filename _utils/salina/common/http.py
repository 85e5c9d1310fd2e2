"""Whether a URL answers as it should, requested as a client of the service would."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping


def ask(url: str, headers: Mapping[str, str], timeout: float) -> tuple[str, Mapping[str, str]]:
    """Send one GET; return "" and the answer's headers for status 200, otherwise the fault and {}.

    The certificate of an https URL is not verified: only the service's clients may know its CA, and
    the URL leads to a host that the topology names.

    Args:
        url: http://127.0.0.1:8069/web/health
        headers: the headers of the request.
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
