"""K3: A prediction names the restarts that follow from the changes of the same run."""

from __future__ import annotations

from typing import Any

import pytest

from salina.common import prediction, state
from tests.loading import load, states

CONF, UNIT, SETTINGS = "/etc/nginx/nginx.conf", "/etc/nginx.service", "/etc/default/nginx"
FILES = [CONF, UNIT]


def result(
    module: str, name: str, changes: dict[str, Any], result: bool | None = None
) -> dict[str, Any]:
    """The result of a state that ran before, by Salt's tag."""
    found = {"name": name, "changes": changes, "result": result, "comment": ""}
    return {f"{module}_|-{name} {changes}_|-{name}_|-x": found}


DIFF = result("file", CONF, {"diff": "-a\n+b"})
RESTARTED = result("daemon", "nginx", {"restart": "nginx"})
RELOADED = result("daemon", "nginx", {"reload": "nginx"})

BEFORE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, []),
    "a diff": (DIFF, [CONF]),
    "a hidden diff": (result("file", CONF, {"diff": "<show_changes=False>"}), [CONF]),
    "a new file": (result("file", UNIT, {"newfile": UNIT}), [UNIT]),
    "other rights": (result("file", CONF, {"mode": "0644", "user": "root"}), []),
    "a directory of the file": (result("file", "/etc/nginx", {"/etc/nginx": {"mode": "1"}}), []),
    "a directory that holds the file": (result("release", "/etc", {"release": "2"}), FILES),
    "another file": (result("file", SETTINGS, {"diff": "x"}), []),
    "a similar name": (result("release", "/etc/ngin", {"release": "2"}), []),
    "a change that was made": (result("file", CONF, {"diff": "x"}, True), []),
    "a failure": (result("file", CONF, {}, False), []),
    "a restart afterwards": (DIFF | RESTARTED, []),
    "a reload afterwards": (DIFF | RELOADED, [CONF]),
    "a restart between": (
        DIFF | RESTARTED | result("file", UNIT, {"newfile": UNIT}),
        [UNIT],
    ),
    "a restart of another service": (DIFF | result("daemon", "x", {"restart": "x"}), [CONF]),
}


@pytest.mark.parametrize("case", BEFORE)
def test_files_that_the_states_before_would_write(case: str) -> None:
    before, unread = BEFORE[case]
    assert prediction.expected(before, "nginx", FILES, [], reloads=False) == unread


def test_a_predicted_reload_reads_what_a_reload_reads() -> None:
    before = DIFF | RELOADED
    assert prediction.expected(before, "nginx", FILES, [UNIT], reloads=True) == []
    assert prediction.expected(before, "nginx", FILES, [UNIT], reloads=False) == [UNIT, CONF]


def daemon(before: dict[str, Any], running: bool, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The states `daemon`, where Salt only predicts, and no file on the disk is newer."""
    monkeypatch.setattr(state, "__running__", before)
    salt = {
        "daemon.outdated": lambda *_, **__: [],
        "daemon.replaced": lambda _: [],
        "service.status": lambda _: running,
        "turn.needed": lambda role: role == "app",
    }
    return load("_states/daemon.py", salt=salt, opts={"test": True})


def test_a_predicted_change_predicts_the_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    module = daemon(DIFF, True, monkeypatch)
    ret = module.current("nginx", FILES, turn="app")
    assert (ret["result"], ret["changes"]) == (
        None,
        {"reload": "nginx", "turn": "app", "read": [CONF]},
    )
    assert ret["comment"] == (
        f"nginx would reload, in the turn of this host, because {CONF} changed"
    )
    ret = module.current("nginx", FILES, restart=True, turn="other")
    assert ret["changes"] == {"restart": "nginx", "read": [CONF]}
    ret = module.current_afterwards("nginx", FILES, "unit")
    assert ret["changes"] == {"restart": "nginx", "read": [CONF]}


def test_a_stopped_service_reads_its_files_at_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    module = daemon(DIFF, False, monkeypatch)
    assert module.current("nginx", FILES)["changes"] == {}


def test_the_end_of_a_predicted_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real run takes the turn, so its end is a change as well."""
    before = result("daemon", "nginx", {"restart": "nginx", "turn": "app"})
    monkeypatch.setattr(state, "__running__", before)
    ret = states("turn", True, turn_held=lambda: []).ended("turn")
    assert (ret["result"], ret["changes"]) == (None, {"turn": {"old": "app", "new": None}})
    ret = states("turn", False, turn_held=lambda: []).ended("turn")
    assert (ret["result"], ret["changes"]) == (True, {})


def test_the_firewall_loads_a_file_that_would_change(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = "/etc/ufw/before.rules"
    monkeypatch.setattr(state, "__running__", result("file", rules, {"diff": "x"}))
    asked = {
        "ufw_installed": lambda: True,
        "ufw_unloaded": lambda: [],
        "ufw_files": lambda: [rules, "/etc/default/ufw"],
        "ufw_status": lambda: {},
    }
    ret = states("ufw", True, **asked).enabled("firewall", False, "low")
    assert (ret["result"], ret["changes"]) == (None, {"loaded": [rules]})


def test_settings_wait_for_code_that_would_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """K3: The real run writes the code first, and leaves the restart to a later state."""
    code = "/opt/odoo/addons/salina_odoo14/health.py"
    monkeypatch.setattr(state, "__running__", result("file", code, {"diff": "x"}))
    found = states("application", True, application_pending_code=lambda *_: "")
    ret = found.reconfigured("odoo", [CONF], [code], "c0ffee000000-0123abcd", "app")
    assert (ret["result"], ret["changes"]) == (True, {})
    assert f"because {code} would change" in ret["comment"]
