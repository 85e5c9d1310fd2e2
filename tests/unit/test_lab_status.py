"""The health of the lab: which hosts are asked, and how the answers are shown."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lab.cloud import server
from lab.commands import cli, preflight, status
from lab.machines import containers, faults, inventory, minions, plan, topology_file
from lab.machines.plan import Machine, Plan
from salina_fleet import health, secrets
from salina_fleet.health import Finding, Row
from tests import fleets


def shown(rows: list[Row], injected: list[faults.Fault]) -> str:
    console = Console(file=io.StringIO(), width=120, highlight=False)
    console.print(status.table(rows, injected))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_table_tells_what_is_wrong_and_what_was_injected() -> None:
    rows = [
        Row("s1", "app", (Finding("minion", False), Finding("app", True))),
        Row("lb1", "balancer", (Finding("haproxy web", False, "2 of 3 up"),)),
        Row("nas1", "storage", (Finding("peers", False, "[Errno 2] away"),)),
    ]
    text = shown(rows, [faults.Fault(faults.Kind.SERVICE_KILL, "s1", "nginx")])
    assert "✗  s1" in text and "no minion" in text
    assert "haproxy web: 2 of 3 up" in text
    assert "[Errno 2] away" in text  # it is not taken for markup
    assert "service-kill nginx s1" in text


def test_x11_a_notice_is_shown_and_is_no_fault() -> None:
    """X11: The host stays well."""
    row = Row("s1", "app", (Finding("restart waits", True, "odoo; next: …", True),))
    assert row.good
    assert "✓  s1" in shown([row], []) and "! restart waits: odoo; next: …" in shown([row], [])


class Lab:
    """A lab of the default topology, without containers: what LXC and the hosts would say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.topology = fleets.topology()
        self.hosts = [*fleets.fleet().hosts, "c1", "c2"]
        self.states = {f"salina-{name}": "RUNNING" for name in self.hosts}
        self.probed: list[str] = []
        self.folder = folder
        self.state = folder / "salina-salt/delta/var/lib/salina"
        self.keys = folder / "salina-salt/delta/etc/salt/pki/master/minions"
        for path in (self.state, self.keys):
            path.mkdir(parents=True)
        for name in fleets.fleet().hosts:
            (self.keys / name).touch()
        give = monkeypatch.setattr
        give(inventory, "CONTAINERS", folder)
        give(topology_file, "read", lambda: self.topology)
        give(containers, "existing", lambda: set(self.states))
        give(containers, "present", lambda: set(self.states))
        give(containers, "states", lambda: self.states)
        give(faults, "read", lambda: [])
        give(server, "pid", lambda: 1)
        give(minions, "connections", lambda wanted: {(one.name, "1") for one in wanted.minions})
        give(minions, "answering", lambda _, asked, __: set(asked))
        give(status, "service", lambda *_: Row("service", "from c1", (Finding("url", True),)))
        give(status, "probe", self.probe)

    def probe(self, machine: Machine, *_: Any) -> list[Finding]:
        self.probed.append(machine.name)
        return [Finding("units", True)]

    def members(self, content: str) -> None:
        (self.state / "members.json").write_text(content)

    def look(self, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
        """Return the exit code and the output of `bin/lab status --json`."""
        code = 0
        try:
            cli.show_status(as_json=True)
        except SystemExit as error:
            code = int(str(error.code))
        return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    return Lab(monkeypatch, tmp_path)


def test_every_host_and_tier_as_json(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Each host makes its own checks; the exit code says whether all is well."""
    code, found = lab.look(capsys)
    assert (code, found["healthy"]) == (0, True), found
    assert set(found) == {"healthy", "hosts", "tiers", "service", "cloud", "faults"}
    assert list(found["hosts"]) == lab.hosts
    assert sorted(lab.probed) == sorted(fleets.fleet().hosts)
    assert found["hosts"]["nas1"] == {
        "roles": "storage quorum",
        "healthy": True,
        "checks": [
            {"what": "minion", "good": True, "detail": "", "notice": False},
            {"what": "units", "good": True, "detail": "", "notice": False},
        ],
    }
    tiers = found["tiers"]["app"]["checks"]
    well = {"what": "hosts", "good": True, "detail": "3 of 3 are well", "notice": False}
    assert tiers == [well]


def test_dead_hosts_are_not_asked(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A frozen or stopped host would not answer; its tier is not well."""
    lab.states |= {"salina-nas1": "FROZEN", "salina-s1": "STOPPED"}
    code, found = lab.look(capsys)
    assert (code, found["healthy"]) == (1, False)
    assert not {"nas1", "s1"}.intersection(lab.probed)
    shown = {name: found["hosts"][name]["checks"][-1]["detail"] for name in ("nas1", "s1")}
    assert shown == {"nas1": "frozen", "s1": "stopped"}
    assert found["tiers"]["app"]["checks"][0]["detail"] == "2 of 3 are well"


def test_a_damaged_members_file_is_a_fault_of_the_master(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its reason is shown, and the initial members stand in."""
    lab.members('{"app": ["s1", ')
    code, found = lab.look(capsys)
    last = found["hosts"]["salt"]["checks"][-1]
    assert (code, last["what"], last["good"]) == (1, "members", False)
    assert last["detail"].startswith("/var/lib/salina/members.json: the file is damaged: ")
    assert "initial members" in last["detail"] and str(lab.folder) not in last["detail"]
    assert found["hosts"]["s3"]["healthy"]


def test_a_plausible_but_wrong_members_file(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """`s2` has become `s5`: the file fits the topology, but s5 never had a key."""
    lab.members('{"app": ["s1", "s5", "s3"]}')
    code, found = lab.look(capsys)
    last = found["hosts"]["salt"]["checks"][-1]
    assert code == 1
    words = "the master has accepted no key of s5, and s2 has a key but is not a member"
    assert last["detail"].startswith(words)
    assert found["hosts"]["s5"]["checks"][-1]["detail"] == "missing"
    assert found["hosts"]["s2"]["roles"] == "app, not a member"


def test_a_change_that_runs_is_no_fault(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """While s4 joins, it may be a member before its key exists."""
    lab.members('{"app": ["s1", "s2", "s3", "s4"]}')
    (lab.state / "unfinished.json").write_text('{"app": ["s4"]}')
    _, found = lab.look(capsys)
    assert found["hosts"]["salt"]["healthy"]


def test_a_silent_minion(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host whose minion is dead makes its checks all the same."""
    monkeypatch.setattr(minions, "answering", lambda _, asked, __: set(asked) - {"fw"})
    code, found = lab.look(capsys)
    assert code == 1 and "fw" in lab.probed
    first = {"what": "minion", "good": False, "detail": "", "notice": False}
    assert found["hosts"]["fw"]["checks"][0] == first


def test_the_states_of_all_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One question to LXC: each takes a third of a second on a busy machine."""
    text = "NAME         STATE   \nsalina-nas1  FROZEN  \nsalina-s1    RUNNING \nother STOPPED \n"
    done = type("Done", (), {"stdout": text})
    monkeypatch.setattr(containers, "run", lambda *_: done)
    monkeypatch.setattr(containers, "inside", lambda argv: argv)
    assert containers.states() == {"salina-nas1": "FROZEN", "salina-s1": "RUNNING"}


def test_row_is_good_when_all_is() -> None:
    assert Row("a", "", (Finding("x", True),)).good
    assert not Row("a", "", (Finding("x", True), Finding("y", False))).good


def test_tier_is_well_when_all_its_hosts_are() -> None:
    rows = [Row("s1", "app", ()), Row("s2", "app", (Finding("x", False),))]
    (tier,) = health.tiers({"app": ["s1", "s2"], "database": []}, rows)
    assert not tier.good
    assert tier.findings[0].detail == "1 of 2 are well"


def test_the_plan_of_the_fake_lab() -> None:
    """The fake lab above has the machines of the plan."""
    wanted: Plan = plan.make(fleets.topology(), fleets.topology().initial())
    assert {one.name for one in wanted.machines} == {*fleets.fleet().hosts, "c1", "c2"}


def test_preflight_tells_all_faults_at_once() -> None:
    error = preflight.report([preflight.Fault("no root", "sudo"), preflight.Fault("no disk", "rm")])
    assert "no root: sudo" in str(error) and "no disk: rm" in str(error)


class Client:
    """A client's machine on which commands run for real, with another `curl` that answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, answers: str) -> None:
        self.seen = folder / "seen"
        program = folder / "curl"
        program.write_text(
            "#!/bin/bash\n"
            f'echo "arguments: $*" >>{self.seen}\n'
            'while [ $# -gt 0 ]; do [ "$1" = --config ] && cat "$2"; shift; done '
            f">>{self.seen}\n"
            f"cat >>{self.seen}\n"
            f"{answers}\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setattr(containers, "attach", lambda _, argv: list(argv))

    def row(self, **passwords: str) -> Row:
        """Ask the applications of a fleet with a copy for trials."""
        fleet = fleets.fleet("staging")
        defined = {"odoo-14.0": fleets.definition("odoo-14.0")}
        caller = plan.make(fleet.topology, fleet.topology.initial()).machine("c1")
        return status.service(caller, "the CA\n", fleet, defined, passwords)


def test_o1_a_copy_is_asked_with_its_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O1, K4: The application itself has answered then. No command line has the password."""
    client = Client(monkeypatch, tmp_path, "printf 200")
    row = client.row(crm_staging="s3cret")
    assert row.good
    assert [one.detail for one in row.findings] == [
        "HTTP 200",
        "HTTP 200 with the visitors' password",
    ]
    text = client.seen.read_text()
    assert text.count("s3cret") == 1 and 'user = "crm_staging:s3cret"' in text
    assert not [line for line in text.splitlines() if "s3cret" in line and "arguments" in line]
    assert text.count("the CA\n") == 2


def test_o1_a_copy_whose_application_is_down_is_not_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O1: The balancer asks for the password before that shows, so an answer 401 is not enough."""
    client = Client(monkeypatch, tmp_path, "printf 503")
    assert [one.good for one in client.row(crm_staging="s3cret").findings] == [False, False]
    wrong = Client(monkeypatch, tmp_path, "printf 401")
    assert [one.good for one in wrong.row(crm_staging="s3cret").findings] == [False, False]


def test_o1_without_the_password_the_status_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O1: It is a notice, and nothing is said about the application."""
    row = Client(monkeypatch, tmp_path, "printf 401").row()
    _, copy = row.findings
    assert (copy.good, copy.notice) == (True, True)
    assert "the application was not asked" in copy.detail
    monkeypatch.setattr(inventory, "CONTAINERS", tmp_path)
    topology = fleets.topology("staging")
    assert status.visitors(topology) == {}
    store = secrets.open_store(inventory.master_state(topology))
    store.put(secrets.own("crm_staging", secrets.VISITORS), "s3cret")
    assert status.visitors(topology) == {"crm_staging": "s3cret"}
