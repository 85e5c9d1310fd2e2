"""The balancer's files: a copy for trials is behind a password, which only root can read."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests import fleets
from tests.render.minion import Minion

FRAGMENTS = "/etc/haproxy/conf.d"
VISITORS = "15-visitors-crm_staging.cfg"
RULES = "20-balancer.cfg"
PASSWORD = "canary-app-crm_staging-visitors"
AUTH = re.compile(r"http_auth|http-request auth |authorization", re.IGNORECASE)
USERLIST = ["userlist crm_staging.visitors", f"user crm_staging insecure-password {PASSWORD}"]


class Balancer:
    """The balancer of a fleet: its states, those of its fragments, and their lines.

    Comments are left out.
    """

    def __init__(self, fleet: str) -> None:
        minion = Minion("lb1", fleets.pillar("lb1", fleet))
        self.chunks = minion.chunks
        managed = [one for one in minion.chunks if one["state"] == "file"]
        self.states: dict[str, dict[str, Any]] = {
            one["name"].removeprefix(f"{FRAGMENTS}/"): one
            for one in managed
            if one["name"].startswith(f"{FRAGMENTS}/")
        }
        self.texts = {name: minion.render(one) for name, one in self.states.items()}

    def lines(self, name: str) -> list[str]:
        """Return the lines of a fragment."""
        found = [line.strip() for line in self.texts[name].splitlines()]
        return [line for line in found if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def staging() -> Balancer:
    """The balancer of a fleet with a copy for trials."""
    return Balancer("staging")


def test_x10_only_root_reads_the_password_of_a_copy(staging: Balancer) -> None:
    """O1, X10, K4: It is in one fragment, whose changes Salt does not show."""
    state = staging.states[VISITORS]
    assert (state["mode"], state["show_changes"]) == ("0600", False)
    assert not {"user", "group"} & {*state}
    assert staging.lines(VISITORS) == USERLIST
    assert [name for name, text in staging.texts.items() if "canary" in text] == [VISITORS]


def test_o1_the_users_are_known_before_the_rules_name_them(staging: Balancer) -> None:
    """O1: HAProxy refuses a rule with an unknown list of users, so the list is there first."""
    order = [*staging.states]
    assert order.index(VISITORS) < order.index(RULES)
    assert {"file": "balancer-visitors-crm_staging"} in staging.states[RULES]["require"]


def test_o1_neither_is_there_before_app_hosts_have_tls(staging: Balancer) -> None:
    """O1: A deployment that waits for them in vain changes nothing of HAProxy."""
    for file in (VISITORS, RULES):
        assert {"balancer": "balancer-app-hosts"} in staging.states[file]["require"]


def test_o1_only_the_rules_are_checked_with_the_users(staging: Balancer) -> None:
    """O1: A copy that comes has its users there before any rule names them."""
    assert "check_cmd" not in staging.states[VISITORS]
    assert staging.states[RULES]["check_cmd"] == f"/usr/local/sbin/haproxy-check {RULES}"


@pytest.mark.parametrize("file", [VISITORS, RULES])
def test_x10_haproxy_takes_a_new_password_at_once(staging: Balancer, file: str) -> None:
    """O1, X10: It reloads for each of the two files, after it is written."""
    [reloaded] = [one for one in staging.chunks if one["__id__"] == "haproxy-reloaded"]
    assert f"{FRAGMENTS}/{file}" in reloaded["files"]
    before = staging.chunks[: staging.chunks.index(reloaded)]
    assert staging.states[file] in before


def test_x10_only_a_copy_needs_the_password(staging: Balancer) -> None:
    """O1, X10: It comes after the redirect to HTTPS, so no browser sends it in plain text.

    The balancer itself, which asks for the pages after a change, needs none. The application gets
    no password.
    """
    lines = staging.lines(RULES)
    assert [line for line in lines if AUTH.search(line)] == [
        "acl crm_staging-visitor http_auth(crm_staging.visitors)",
        "http-request auth realm crm_staging if crm_staging !crm_staging-visitor !{ src 10.1.2.2 }",
        "http-request del-header Authorization if crm_staging",
    ]
    [redirect] = [
        line for line in lines if "redirect" in line and "staging" in line and "ssl_fc" in line
    ]
    [rule] = [line for line in lines if line.startswith("http-request auth")]
    [served] = [line for line in lines if line.startswith("use_backend crm_staging ")]
    assert lines.index(redirect) < lines.index(rule) < lines.index(served)


@pytest.mark.parametrize("fleet", ["default", "two-applications"])
def test_o1_a_fleet_without_a_copy_asks_nobody(fleet: str) -> None:
    """O1: There are no users, and no rule names any."""
    balancer = Balancer(fleet)
    assert not [name for name in balancer.states if "visitors" in name]
    assert not AUTH.search(balancer.texts[RULES])


@pytest.mark.parametrize(("fleet", "kept"), [("default", []), ("staging", [VISITORS])])
def test_k2_the_users_of_a_copy_go_after_the_rules(fleet: str, kept: list[str]) -> None:
    """O1, K2: HAProxy takes its configuration at every moment, so an apply can be killed.

    The file in which an earlier version had the users of all copies goes as well.
    """
    balancer = Balancer(fleet)
    [gone] = [one for one in balancer.chunks if one["state"] == "file" and one["fun"] == "tidied"]
    assert balancer.chunks.index(balancer.states[RULES]) < balancer.chunks.index(gone)
    names = [VISITORS, "15-visitors-crm_trial.cfg", "15-visitors.cfg", "10-database.cfg", RULES]

    def removed(name: str) -> bool:
        named = any(re.match(one, name) for one in gone["matches"])
        return named and not any(re.match(one, name) for one in gone["exclude"])

    assert [name for name in names if not removed(name)] == [*kept, "10-database.cfg", RULES]
