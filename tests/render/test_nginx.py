"""How long nginx and browsers keep static files, for both kinds of application (O6)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import fleets
from tests.render.minion import Minion

KINDS = {"odoo-14.0": "^/[^/]+/static/", "sample-crm": r"^/style\.css$"}


def static(application: str, minutes: int, scratch: Path) -> list[str]:
    """The lines of nginx's location of the static files."""
    pillar = fleets.pillar("s1", application=application)
    pillar["app"]["settings"]["static_cache"] = minutes
    conf = dict(Minion("s1", pillar, scratch).files())["/etc/nginx/nginx.conf"]
    found = re.search(
        rf"location ~ {re.escape(KINDS[application])} {{\n(.*?)\n        }}", conf, re.S
    )
    assert found
    return [line.strip() for line in found[1].splitlines()]


@pytest.mark.parametrize("application", KINDS)
@pytest.mark.parametrize("minutes", [60, 5])
def test_o6_nginx_and_browsers_keep_them_for_the_same_time(
    application: str, minutes: int, tmp_path: Path
) -> None:
    """O6: Both use the setting, and the key of nginx's cache has the revision of the code."""
    lines = static(application, minutes, tmp_path)
    assert f"proxy_cache_valid 200 {minutes}m;" in lines
    assert f"expires {minutes}m;" in lines
    revision = fleets.definition(application)["source"]["revision"]
    (key,) = [line for line in lines if line.startswith("proxy_cache_key ")]
    assert re.fullmatch(rf'proxy_cache_key "{revision} [0-9a-f]* \$request_uri";', key)


@pytest.mark.parametrize("application", KINDS)
def test_o6_without_a_cache_browsers_ask_again(application: str, tmp_path: Path) -> None:
    """O6: With 0 minutes neither nginx nor a browser keeps a file."""
    lines = static(application, 0, tmp_path)
    assert "expires 0m;" in lines
    assert not [line for line in lines if line.startswith(("proxy_cache", "proxy_ignore"))]


@pytest.mark.parametrize("application", KINDS)
@pytest.mark.parametrize(("fleet", "host"), [("default", "s1"), ("one-host", "all")])
def test_o6_nginx_follows_the_checkout(
    fleet: str, host: str, application: str, tmp_path: Path
) -> None:
    """O6: nginx's file is written after production has its code, because it names the commit."""
    pillar = fleets.pillar(host, fleet, application=application)
    minion = Minion(host, pillar, tmp_path)
    for chunks in (minion.chunks, minion.apply("prepare")):
        names = [chunk["__id__"] for chunk in chunks]
        assert names.index("application-production") < names.index("nginx-configuration")
