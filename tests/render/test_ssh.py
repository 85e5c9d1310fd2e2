"""The states of sshd (X9)."""

from __future__ import annotations

import pytest

from salina_fleet.model.ssh import SshSettings
from tests import fleets
from tests.render.minion import Minion

FILE = "/etc/ssh/sshd_config.d/00-salina.conf"


def test_x9_sshd_is_checked_before_and_after() -> None:
    """X9: First whether somebody can still log in, then the file, the reload, and the result."""
    chunks = Minion("s1", fleets.pillar("s1")).apply("ssh.managed")
    order = [chunk["__id__"] for chunk in chunks]
    wanted = ["ssh-open", "ssh-settings", "ssh-current", "ssh-in-force"]
    assert [name for name in order if name in wanted] == wanted
    states = {chunk["__id__"]: chunk for chunk in chunks}
    assert {"sshd": "ssh-open"} in states["ssh-settings"]["require"]
    assert states["ssh-settings"]["check_cmd"] == "/usr/local/sbin/sshd-check"
    assert {states[name]["name"] for name in wanted} == {FILE, "ssh"}
    assert "restart" not in states["ssh-current"]  # a reload ends no session
    assert states["ssh-in-force"]["port"] == 22


@pytest.mark.parametrize(("managed", "installed"), [(True, True), (True, False), (False, True)])
def test_x9_a_host_without_sshd_has_no_state_of_it(
    managed: bool, installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X9: Neither has a host whose operator configures sshd."""
    own = fleets.settings().but(SshSettings(managed=managed))
    source = fleets.REPOSITORY / "salt/ssh/init.sls"
    pillar = fleets.pillar("s1", own=own)
    del pillar["operators"]  # in a fleet without a management host
    minion = Minion("s1", pillar)
    chunk = {"source": "salt://ssh/init.sls", "template": "jinja"}
    functions = minion.highstate.state.functions
    asked: list[str] = []

    def exists(path: str) -> bool:
        asked.append(path)
        return installed

    monkeypatch.setitem(functions, "file.file_exists", exists)
    text = minion.render(chunk)
    assert source.exists() and asked in ([], ["/usr/sbin/sshd"])
    assert ("ssh.managed" in text) == (managed and installed)


def test_s14_nobody_is_an_operator_without_a_management_host() -> None:
    """S14: Also if the fleet had one: its accounts end, and sshd takes its own key again."""
    pillar = fleets.pillar("s1")
    there = Minion("s1", pillar).apply("ssh")
    assert "operators-none" not in {chunk["__id__"] for chunk in there}
    del pillar["operators"]
    chunks = Minion("s1", pillar).apply("ssh")
    states = {chunk["__id__"]: chunk for chunk in chunks if chunk["__id__"].startswith("operators")}
    assert states["operators-none"]["accounts"] == []
    gone = [chunk["name"] for chunk in chunks if chunk["__id__"] == "operators-absent"]
    assert gone[0] == "/etc/ssh/sshd_config.d/00-operators.conf"
    assert {"/etc/salina/ssh", "/etc/sudoers.d/salina"} < {*gone}
    order = [chunk["__id__"] for chunk in chunks]
    assert order.index("operators-none") < order.index("operators-absent")
