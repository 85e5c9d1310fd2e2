"""K3: The plan of an apply, from what the hosts predict."""

from __future__ import annotations

import json
from typing import Any

from salina_fleet.change import plan
from salina_fleet.change.plan import Expected

NOTE = "\nNote: No changes made, actual changes may\nbe different due to other states."
DIFF = "--- \n+++ \n@@ -1,2 +1,2 @@\n-workers = 4\n+workers = 5\n same\n"
SECRET = "s3cret"


def states(*results: dict[str, Any]) -> dict[str, Any]:
    """The return of `state.apply test=True`."""
    found = {}
    for number, one in enumerate(results):
        module, function = one.pop("fun").split(".")
        full = {"name": one["__id__"], "result": None, "changes": {}, "comment": "", **one}
        tag = f"{module}_|-{one['__id__']}_|-{full['name']}_|-{function}"
        found[tag] = {**full, "__run_num__": number}
    return found


LIMITS = {
    "fun": "file.managed",
    "__id__": "odoo-conf",
    "name": "/etc/odoo.conf",
    "changes": {"diff": DIFF, "mode": "0640"},
    "comment": f"The file /etc/odoo.conf is set to be changed{NOTE}",
}
HIDDEN = {
    "fun": "odoo.configured",
    "__id__": "odoo-configuration",
    "name": "/etc/odoo/odoo.conf",
    "changes": {"diff": plan.HIDDEN},
}
RESTART = {
    "fun": "daemon.current",
    "__id__": "odoo-current",
    "name": "odoo",
    "changes": {"restart": "odoo", "turn": "app", "read": ["/etc/odoo.conf"]},
    "comment": "odoo would restart, in the turn of this host, because /etc/odoo.conf changed",
}
RELOAD = {
    "fun": "daemon.current",
    "__id__": "haproxy-reloaded",
    "name": "haproxy",
    "changes": {"reload": "haproxy", "read": ["/etc/haproxy.cfg"]},
    "comment": "haproxy would reload, because /etc/haproxy.cfg changed",
}
PACKAGE = {
    "fun": "pkg.installed",
    "__id__": "nginx-packages",
    "comment": "The following packages would be installed: nginx",
    "changes": {"nginx": {"old": "", "new": "installed"}},
}
STARTED = {
    "fun": "service.running",
    "__id__": "nginx-service",
    "comment": "Service nginx is set to start",
}
ONCE = {
    "fun": "patroni.configured",
    "__id__": "patroni-configured",
    "changes": {"ttl": 20, "restart": "PostgreSQL", "turn": "database"},
    "comment": "the configuration would be changed; PostgreSQL would restart on bbdd1, bbdd2",
}
WAITS = {
    "fun": "application.database_answers",
    "__id__": "application-database",
    "comment": "it would wait for the database crm: refused",
    "note": True,
}
FAILED = {
    "fun": "odoo.fits",
    "__id__": "odoo-fits",
    "result": False,
    "comment": "workers: 90 is too many",
}
CONSEQUENCE = {
    "fun": "service.running",
    "__id__": "odoo-service",
    "result": False,
    "comment": "One or more requisite failed: odoo.fits",
}
GOOD = {"fun": "file.managed", "__id__": "same", "result": True}
BUSY = ['The function "state.apply" is running as PID 7 and was started at 12:00 with jid 1']


def planned(**returned: Any) -> dict[str, Expected]:
    """The plan of hosts that returned this."""
    return {host: plan.expected(host, one) for host, one in returned.items()}


def test_hosts_with_the_same_plan_are_shown_together() -> None:
    """K3: Files have their differences, and restarts their turns."""
    app = states(LIMITS.copy(), GOOD.copy(), RESTART.copy())
    found = planned(fw=states(GOOD.copy()), s1=app, s2=app, lb1=states(RELOAD.copy()))
    assert plan.whole(found)
    assert plan.text(found) == (
        "s1, s2:\n"
        "  file /etc/odoo.conf (odoo-conf)\n"
        "      @@ -1,2 +1,2 @@\n"
        "      -workers = 4\n"
        "      +workers = 5\n"
        "       same\n"
        "      mode: 0640\n"
        "  restart odoo in turn: /etc/odoo.conf changed (odoo-current)\n"
        "lb1:\n"
        "  reload haproxy: /etc/haproxy.cfg changed (haproxy-reloaded)\n"
        "no changes: fw\n"
        "3 hosts change, 2 restart odoo in turn, 1 reloads haproxy"
    )


def test_packages_services_and_what_one_host_does_for_all() -> None:
    both = states(PACKAGE.copy(), STARTED.copy(), ONCE.copy())
    text = plan.text(planned(bbdd1=both, bbdd2=both))
    assert "The following packages would be installed: nginx (nginx-packages)" in text
    assert "Service nginx is set to start (nginx-service)" in text
    assert "; one of these hosts does it for all (patroni-configured)" in text
    assert text.endswith("2 hosts change, 2 restart PostgreSQL in turn")


def test_a_turn_for_what_one_host_does_for_all_is_taken_by_one_host() -> None:
    """So its end is a change of that host only."""
    end = {"fun": "turn.ended", "__id__": "turn-ended", "changes": {"turn": {"new": None}}}
    for before, once in (([ONCE], True), ([ONCE, RESTART], False), ([RELOAD], False)):
        found = planned(bbdd1=states(*(one.copy() for one in [*before, end])))["bbdd1"]
        assert [one.once for one in found.changes if one.state == "turn-ended"] == [once]


def test_files_with_secrets_show_no_difference() -> None:
    """K4: The states hide them, and the plan adds nothing to what the states say."""
    found = planned(s1=states(HIDDEN.copy()))
    assert "it may hold secrets, so it is not shown" in plan.text(found)
    assert plan.HIDDEN not in plan.text(found)
    # neither a result's other keys nor the arguments of a state are passed on
    leaking = states({**RESTART, "pchanges": SECRET, "contents": SECRET, "__sls__": SECRET})
    found = planned(s1=leaking)
    assert SECRET not in plan.text(found) + json.dumps(plan.data(found))


def test_nothing_to_do() -> None:
    found = planned(s1=states(GOOD.copy()), s2=states(GOOD.copy()))
    assert plan.text(found) == "no changes: s1, s2\nno host changes"


def test_an_incomplete_plan_names_the_hosts_and_why() -> None:
    """K3, K5: A host that applies states, one that is down, and one whose states do not render."""
    found = planned(s1=BUSY, s2=["Rendering SLS 'base:x' failed"], s3=states(RELOAD.copy()))
    found["nas1"] = Expected(obstacle="it is down")
    assert not plan.whole(found)
    text = plan.text(found)
    for line in (
        "the plan is incomplete, because some hosts did not predict their changes:",
        "  s1: it applies states at the moment",
        "  s2: Rendering SLS 'base:x' failed",
        "  nas1: it is down",
        "1 host changes, 1 reloads haproxy, incomplete without 3 hosts",
    ):
        assert line in text.splitlines()
    assert plan.data(found)["complete"] is False


def test_a_host_that_returns_nothing() -> None:
    for nothing in (None, False, True, []):
        assert plan.expected("s1", nothing).obstacle


def test_failures_are_named_without_their_consequences() -> None:
    found = planned(s1=states(FAILED.copy(), CONSEQUENCE.copy()))
    assert not plan.whole(found)
    text = plan.text(found)
    assert "  would fail: odoo-fits (odoo.fits): workers: 90 is too many" in text.splitlines()
    assert "requisite" not in text
    assert text.endswith("no host changes, states would fail on 1 host")


def test_notes_are_no_changes() -> None:
    found = planned(s1=states(WAITS.copy()))
    text = plan.text(found)
    said = "note: it would wait for the database crm: refused"
    assert f"  {said} (application-database)" in text.splitlines()
    assert text.endswith("no host changes")
    assert plan.whole(found)


def test_the_data_has_the_same_facts() -> None:
    """K3: Also as JSON."""
    found = planned(s1=states(LIMITS.copy(), RESTART.copy(), WAITS.copy()), s2=BUSY)
    data = json.loads(json.dumps(plan.data(found)))
    assert data["summary"] == plan.summary(found)
    assert data["hosts"]["s2"]["obstacle"] == "it applies states at the moment"
    changes = data["hosts"]["s1"]["changes"]
    assert [one["state"] for one in changes] == ["odoo-conf", "odoo-current"]
    assert [one["kind"] for one in changes] == ["file", "restart"]
    assert "+workers = 5" in changes[0]["lines"]
    assert (changes[1]["service"], changes[1]["turn"]) == ("odoo", "app")
    assert list(data["hosts"]["s1"]["notes"]) == ["application-database"]


def test_hosts_cannot_control_the_terminal() -> None:
    evil = {**LIMITS, "name": "/etc/\x1b[2J", "changes": {"diff": "+\x1b]0;x\x07", "\x1b": "\x1b"}}
    assert "\x1b" not in plan.text(planned(s1=states(evil)))
