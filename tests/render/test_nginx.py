"""How long nginx and browsers keep static files, for both kinds of application (O6)."""

from __future__ import annotations

import re

import pytest

from tests import fleets
from tests.render.minion import Minion

KINDS = {"odoo-14.0": "^/[^/]+/static/", "sample-crm": r"^/style\.css$"}


def static(application: str, minutes: int) -> list[str]:
    """The lines of nginx's location of the static files."""
    pillar = fleets.pillar("s1", application=application)
    pillar["app"]["settings"]["static_cache"] = minutes
    conf = dict(Minion("s1", pillar).files)["/etc/nginx/nginx.conf"]
    found = re.search(
        rf"location ~ {re.escape(KINDS[application])} {{\n(.*?)\n        }}", conf, re.S
    )
    assert found
    return [line.strip() for line in found[1].splitlines()]


@pytest.mark.parametrize("application", KINDS)
@pytest.mark.parametrize("minutes", [60, 5])
def test_o6_nginx_and_browsers_keep_them_for_the_same_time(application: str, minutes: int) -> None:
    """O6: Both use the setting, and the key of nginx's cache has the release that runs."""
    lines = static(application, minutes)
    assert f"proxy_cache_valid 200 {minutes}m;" in lines
    assert f"expires {minutes}m;" in lines
    (key,) = [line for line in lines if line.startswith("proxy_cache_key ")]
    assert key == 'proxy_cache_key "$release $request_uri";'


@pytest.mark.parametrize("application", KINDS)
def test_o6_without_a_cache_browsers_ask_again(application: str) -> None:
    """O6: With 0 minutes neither nginx nor a browser keeps a file."""
    lines = static(application, 0)
    assert "expires 0m;" in lines
    assert not [line for line in lines if line.startswith(("proxy_cache", "proxy_ignore"))]


@pytest.mark.parametrize("application", KINDS)
@pytest.mark.parametrize(("fleet", "host"), [("default", "s1"), ("one-host", "all")])
def test_o6_nginx_follows_the_release(fleet: str, host: str, application: str) -> None:
    """O6: nginx learns the release after it is active, and the rest before HAProxy starts.

    Debian's own nginx listens on every address. HAProxy needs one on a host with all roles.
    """
    minion = Minion(host, fleets.pillar(host, fleet, application=application))
    names = [chunk["__id__"] for chunk in minion.chunks]
    assert names.index("application-production") < names.index("nginx-release")
    learns = next(chunk for chunk in minion.chunks if chunk["__id__"] == "nginx-release")
    assert {"release": "application-production"} in learns["require"]
    if host == "all":
        assert names.index("nginx-listening") < names.index("haproxy-service")
    assert "nginx-release" not in [chunk["__id__"] for chunk in minion.apply("prepare")]
